"""The commands `benchmark` and `report`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.errors import CheckFailed, MezzotintError

from .generate import OWN
from .terminal import STDOUT, show_progress

__all__ = ["benchmark", "report"]

_SCHEDULERS = "ddim, pndm, euler, dpmpp-2m or another without noise in its steps"
_SIZE_HELP = "In pixels; the checkpoint's own without."


def benchmark(
    checkpoint: Annotated[Path, typer.Argument(help="The diffusers folder that the bundles came from.")],
    bundles: Annotated[list[Path], typer.Argument(help="The bundles to compare.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")],
    prompts: Annotated[Path, typer.Option(help="Evaluation prompts, one a line.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Use the first prompts only.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help=f"Denoising steps of each picture. {OWN}")] = None,
    guidance: Annotated[float | None, typer.Option(min=0.0, help=f"Guidance scale of each picture. {OWN}")] = None,
    scheduler: Annotated[str | None, typer.Option(help=f"{_SCHEDULERS}. {OWN}")] = None,
    height: Annotated[int | None, typer.Option(help=_SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=_SIZE_HELP)] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Fresh processes for each case.")] = 3,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures, or with --parts UNet steps, timed in each.")] = 4,
    backends: Annotated[str, typer.Option(help="Engines for portable bundles, joined by commas.")] = "onnxruntime",
    bf16: Annotated[bool, typer.Option(help="Measure diffusers in BF16 too.")] = True,
    other_seed: Annotated[bool, typer.Option(help="Draw with another seed too: the ceiling of all errors.")] = True,
    attribution: Annotated[bool, typer.Option("--attribution", help="Draw with each component alone INT8.")] = False,
    fidelity: Annotated[bool, typer.Option(help="Compare the pictures.")] = True,
    speed: Annotated[bool, typer.Option(help="Measure time and memory.")] = True,
    parts: Annotated[
        bool, typer.Option("--parts", help="Time each part alone, for models of minutes a picture.")
    ] = False,
    peers: Annotated[Path | None, typer.Option(help="The folder that `make peers` filled.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Networks for LPIPS, CLIP, KID and FID; a gallery.")] = None,
    gate: Annotated[Path | None, typer.Option(help="A TOML file with --fail-if conditions.")] = None,
    fail_if: Annotated[list[str] | None, typer.Option(help="Such as 'int8-openvino:psnr_db<24'.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what an earlier run left.")] = False,
) -> None:
    """Compare bundles with diffusers FP32: latency, memory, size and fidelity, in one report."""
    from mezzotint.benchmarks.benchmark import Extent, run_benchmark
    from mezzotint.benchmarks.cases.workload import Workload, defaults_of
    from mezzotint.benchmarks.gate_file import read_gate, sections_for
    from mezzotint.runtime.samplers.sampling import Sampling
    from mezzotint.runtime.text.prompts import read_prompts

    asked = Sampling.settle(defaults_of(checkpoint, scheduler), None, steps, guidance)
    workload = Workload(
        prompts=read_prompts(prompts)[:limit],
        steps=asked.steps,
        guidance=asked.guidance,
        scheduler=asked.sampler.name,
        height=height,
        width=width,
    )
    extent = Extent(
        rounds=rounds,
        pictures=pictures,
        backends=tuple(backends.split(",")),
        bf16_baseline=bf16,
        other_seed=other_seed,
        attribution=attribution,
        speed=speed,
        fidelity=fidelity,
        parts=parts,
        peers=peers,
        weights=weights,
    )
    sections = sections_for(fidelity=fidelity, speed=speed)
    with show_progress() as progress:
        outcome = run_benchmark(
            checkpoint,
            bundles,
            output,
            workload,
            extent,
            fail_if=fail_if or [],
            gate=read_gate(gate, sections) if gate is not None else [],
            fresh=fresh,
            command=shlex.join(["mezzotint", *sys.argv[1:]]),
            progress=progress,
        )
    STDOUT.print(f"wrote {outcome.report_html}, {outcome.report_md} and {outcome.results}")
    if outcome.not_asked:
        STDOUT.print(f"not measured, so the gate did not ask of: {', '.join(outcome.not_asked)}")
    if outcome.failures:
        raise CheckFailed("; ".join(outcome.failures))


def report(
    results: Annotated[Path, typer.Argument(help="A results.json of an earlier benchmark.")],
    compare: Annotated[Path | None, typer.Option(help="An older results.json: what changed since.")] = None,
) -> None:
    """Write report.md and report.html again from measured results."""
    from mezzotint.benchmarks.report.report import make_report

    if compare is not None and compare.resolve() == results.resolve():
        raise MezzotintError(f"{results} is compared with itself; pass an older results.json to --compare")
    for path in make_report(results, compare):
        STDOUT.print(f"wrote {path}")
