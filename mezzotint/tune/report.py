"""What a search measured, for readers: tune.json, report.md, and report.html that needs no other file."""

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mezzotint.atomic_file import write_text
from mezzotint.bundle.records import record_data
from mezzotint.errors import MezzotintError

from .find import Found
from .frontier import frontier, price_lines, psnr_text
from .judge import TOP1_CONCEPT
from .plot import pareto_svg
from .trials import Trial
from .tune import Tuned

_FIGURES = ("psnr_db", "ssim", "image_ms", "step_ms")


def write_report(tuned: Tuned, folder: Path) -> tuple[Path, ...]:
    """Write the three files into `folder`, over those of before; their paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MezzotintError(f"cannot create {folder} ({error.strerror}); choose another output") from None
    texts = {
        "tune.json": json.dumps(tune_data(tuned), indent=2) + "\n",
        "report.md": _render("report.md.j2", tuned, is_html=False),
        "report.html": _render("report.html.j2", tuned, is_html=True),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


def tune_data(tuned: Tuned) -> dict[str, Any]:
    """Everything, for programs; a median of identical images is null."""
    return {
        "bundle": str(tuned.bundle.path),
        "name": tuned.name,
        "profile": record_data(tuned.profile),
        "trials": [_trial_data(trial) for trial in tuned.trials],
        "confirmed": {"chosen": _trial_data(tuned.found.chosen), "own": _trial_data(tuned.found.own)},
    }


def concept_text(found: Found) -> str | None:
    """How many of the images that confirm show what was asked for; None where nothing could tell."""
    chosen, own = (one.figure(TOP1_CONCEPT) for one in (found.chosen, found.own))
    if math.isnan(chosen):
        return None
    return f"{chosen:.0%} show what their prompt asks for, and {own:.0%} with the bundle's own settings"


def _trial_data(trial: Trial) -> dict[str, Any]:
    medians = {name: trial.median(name) for name in _FIGURES}
    share = trial.figure(TOP1_CONCEPT)
    return {
        **record_data(trial.candidate),
        "expected_ms": trial.expected_ms,
        "images": len(trial.images),
        "medians": {name: value if math.isfinite(value) else None for name, value in medians.items()},
        TOP1_CONCEPT: None if math.isnan(share) else share,
    }


def _render(template: str, tuned: Tuned, *, is_html: bool) -> str:
    environment = Environment(
        autoescape=is_html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    source = files("mezzotint.tune").joinpath("assets", template).read_text(encoding="utf-8")
    confirmed, chosen = tuned.profile.confirmed, tuned.found.chosen
    tried = next(trial for trial in tuned.trials if trial.candidate == chosen.candidate)
    is_judged = not math.isnan(chosen.figure(TOP1_CONCEPT))
    plotted = ("psnr_db", "ssim", *((TOP1_CONCEPT,) if is_judged else ()))
    plots = [pareto_svg(tuned.trials, tried, name, tuned.profile.promise) for name in plotted]
    return environment.from_string(source).render(
        name=tuned.name,
        bundle=tuned.bundle.path.name,
        promise=str(tuned.profile.promise),
        chosen=str(chosen.candidate),
        confirmed=confirmed,
        psnr=psnr_text(chosen.median("psnr_db")),
        prices=price_lines(frontier(tuned.trials, "psnr_db")),
        shown=concept_text(tuned.found),
        rows=_rows(tuned.trials, is_judged=is_judged),
        plots=plots if is_html else [],
    )


def _rows(trials: Sequence[Trial], *, is_judged: bool) -> list[list[str]]:
    return [
        [
            str(trial.candidate),
            f"{trial.expected_ms:.0f}",
            psnr_text(trial.median("psnr_db")),
            f"{trial.median('ssim'):.4f}",
            *((f"{trial.figure(TOP1_CONCEPT):.0%}",) if is_judged else ()),
            str(len(trial.images)),
        ]
        for trial in sorted(trials, key=lambda one: one.expected_ms)
    ]
