"""`mezzotint tune`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.bundle.profile import Goal, Promise
from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.prompts import read_prompts

from .options import AsJson, BundlePath, Overwrite
from .terminal import STDOUT, show_progress, warnings_as_lines, write_json

if TYPE_CHECKING:
    from mezzotint.tune.tune import Tuned

_CHECKPOINT = (
    "The checkpoint, or its FP32 bundle, to compare with and make graphs of; default: the bundle's own images."
)
_MAKE = "Graphs to make of --checkpoint, such as fp16, int8:35 (dB) or int8+pooled-keys; may be given again."
_WITH = "Another bundle of the same weights whose graphs may be taken; may be given again."
_PROMPTS = "Prompts, one a line, for the search and others to confirm it; default: general ones of the package."
_WEIGHTS = "Folder with gallery.npz, training images by which to tell whether images show what was asked for."
_REPORT = "Folder for a report with the Pareto plots."
_PSNR = "Least PSNR of the median image."
_SSIM = "Least SSIM of the median image."
_STEP = "Most milliseconds of a step, on average over a run."
_GOALS = "Promise (one of these)"


def tune(
    bundle: BundlePath,
    checkpoint: Annotated[str | None, typer.Option(help=_CHECKPOINT)] = None,
    min_psnr_db: Annotated[float | None, typer.Option(help=_PSNR, rich_help_panel=_GOALS)] = None,
    min_ssim: Annotated[float | None, typer.Option(help=_SSIM, rich_help_panel=_GOALS)] = None,
    max_step_ms: Annotated[float | None, typer.Option(help=_STEP, rich_help_panel=_GOALS)] = None,
    name: Annotated[str, typer.Option(help="What the profile is called.")] = "fast",
    prompts: Annotated[Path | None, typer.Option(help=_PROMPTS)] = None,
    with_: Annotated[list[Path] | None, typer.Option("--with", help=_WITH)] = None,
    make: Annotated[list[str] | None, typer.Option(help=_MAKE)] = None,
    images: Annotated[int, typer.Option(min=4, help="Prompts that the search looks at.")] = 24,
    confirm: Annotated[int, typer.Option(min=4, help="Other prompts that confirm what it finds.")] = 32,
    weights: Annotated[Path | None, typer.Option(help=_WEIGHTS)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all cores).")] = None,
    report: Annotated[Path | None, typer.Option("-o", "--report", help=_REPORT)] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Find the fastest settings at a stated fidelity, and keep them as a bundle's profile.

    What was measured is kept in the cache folder, so that an interrupted search goes on where it was.
    """
    from mezzotint.quantize.calibrate.default_prompts import default_prompts
    from mezzotint.tune.making import Making
    from mezzotint.tune.report import tune_data, write_report
    from mezzotint.tune.tune import Request, tune_bundle

    promise = _promise(min_psnr_db, min_ssim, max_step_ms)
    request = Request(
        bundle=bundle,
        promise=promise,
        prompts=default_prompts() if prompts is None else read_prompts(prompts),
        name=name,
        checkpoint=checkpoint,
        makings=None if make is None else tuple(Making.parse(text) for text in make),
        others=tuple(with_ or ()),
        search=images,
        confirm=confirm,
        threads=threads,
        weights=weights,
        overwrite=overwrite,
    )
    with show_progress() as progress, warnings_as_lines():
        tuned = tune_bundle(request, progress=progress)
    paths = () if report is None else write_report(tuned, report)
    if as_json:
        write_json(tune_data(tuned))
        return
    for line in (*summary(tuned), *(f"wrote {path}" for path in paths)):
        STDOUT.print(line, markup=False)


def summary(tuned: "Tuned") -> list[str]:
    """What each second costs, what was chosen, what confirmed it, and how to use it."""
    from mezzotint.tune.frontier import frontier, price_lines, psnr_text
    from mezzotint.tune.report import concept_text

    bundle = shlex.quote(str(tuned.bundle.path))
    confirmed, chosen, shown = tuned.profile.confirmed, tuned.found.chosen, concept_text(tuned.found)
    return [
        *price_lines(frontier(tuned.trials, "psnr_db")),
        f"profile {tuned.name}, {tuned.profile.promise}: {chosen.candidate}",
        f"confirmed on {confirmed.prompts} other prompts: {psnr_text(chosen.median('psnr_db'))}, "
        f"SSIM {confirmed.ssim:.4f} against {confirmed.against}",
        *(() if shown is None else (f"of these images {shown}",)),
        f"speed: {confirmed.image_ms:.0f} ms an image, {confirmed.step_ms:.4g} ms a step, {confirmed.speed_up:.2f}x as "
        "fast as the bundle's own settings",
        f'next: mezzotint generate {bundle} "a prompt" --profile {tuned.name} -o image.png',
    ]


def _promise(min_psnr_db: float | None, min_ssim: float | None, max_step_ms: float | None) -> Promise:
    asked = {Goal.PSNR_DB: min_psnr_db, Goal.SSIM: min_ssim, Goal.STEP_MS: max_step_ms}
    given = [Promise(goal=goal, value=value) for goal, value in asked.items() if value is not None]
    if len(given) != 1:
        raise MezzotintError(
            what=f"got {len(given)} promises to keep",
            expected=("--min-psnr-db", "--min-ssim", "--max-step-ms"),
            advice="pass one of them",
        )
    return given[0]
