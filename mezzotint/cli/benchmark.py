"""`mezzotint benchmark`."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.adapters.given import parse_given
from mezzotint.benchmarks.cases.workload import SCHEDULERS
from mezzotint.errors import CheckFailed

from .options import OWN, SIZE_HELP, AsJson, pick
from .terminal import STDOUT, show_progress, warnings_as_lines, write_json

if TYPE_CHECKING:
    from mezzotint.benchmarks.benchmark import Benchmark
    from mezzotint.benchmarks.cases.workload import Workload

_SAMPLERS = tuple(name for _, name in SCHEDULERS)
_CHECKPOINT = "The diffusers folder or the file that the bundles came from."
_CONFIG = "The folder that a file was exported with as `export --config`."
_MEASURE = "What is measured"
_BACKENDS = "Engines for portable bundles, joined by commas."
_LORA = "A LoRA or its like that is in the reference's weights, and in each bundle's or live."
_GATE = "A TOML file of --fail-if conditions."
_WEIGHTS = "Folder of networks for LPIPS, CLIP, KID and FID, and of a gallery of training images."
_IMAGES = "Images, or with --parts UNet steps, timed in each process."
_OTHER_SEED = "Another seed too, as an upper bound on error."
_FP16 = "diffusers in FP16 on the GPU too, eager and compiled."
_STAND_IN = "Graphs for a GPU on a CPU engine, rounding as there: fidelity alone."
_ALONE = "Each component alone in INT8."
_CACHED = "Bundles with a shallow graph at this interval of DeepCache too; may be given again."
_PEER = "Of --peers this one alone; may be given again."
_PARTS = "Time each part alone, for models that take minutes an image."


def benchmark(
    checkpoint: Annotated[Path, typer.Argument(help=_CHECKPOINT)],
    bundles: Annotated[list[Path], typer.Argument(help="The bundles to compare.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")],
    prompts: Annotated[Path, typer.Option(help="Evaluation prompts, one a line.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Use this many prompts, the first ones.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help=f"Denoising steps of each image; {OWN}.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0.0, help=f"Guidance scale of each image; {OWN}.")] = None,
    scheduler: Annotated[str | None, pick("--scheduler", _SAMPLERS, f"Sampler; {OWN}")] = None,
    height: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Fresh processes for each case.")] = 3,
    images: Annotated[int, typer.Option(min=1, help=_IMAGES)] = 4,
    backends: Annotated[str, typer.Option(help=_BACKENDS)] = "onnxruntime",
    bf16: Annotated[bool, typer.Option(help="diffusers in BF16 too.", rich_help_panel=_MEASURE)] = True,
    fp16: Annotated[bool, typer.Option("--fp16", help=_FP16, rich_help_panel=_MEASURE)] = False,
    stand_in: Annotated[bool, typer.Option("--stand-in", help=_STAND_IN, rich_help_panel=_MEASURE)] = False,
    other_seed: Annotated[bool, typer.Option(help=_OTHER_SEED, rich_help_panel=_MEASURE)] = True,
    attribution: Annotated[bool, typer.Option("--attribution", help=_ALONE, rich_help_panel=_MEASURE)] = False,
    fidelity: Annotated[bool, typer.Option(help="Compare the images.", rich_help_panel=_MEASURE)] = True,
    speed: Annotated[bool, typer.Option(help="Time and memory.", rich_help_panel=_MEASURE)] = True,
    cache_interval: Annotated[list[int] | None, typer.Option(min=2, help=_CACHED, rich_help_panel=_MEASURE)] = None,
    parts: Annotated[bool, typer.Option("--parts", help=_PARTS, rich_help_panel=_MEASURE)] = False,
    peers: Annotated[Path | None, typer.Option(help="The folder that `make peers` filled.")] = None,
    peer: Annotated[list[str] | None, typer.Option(metavar="NAME", help=_PEER)] = None,
    weights: Annotated[Path | None, typer.Option(help=_WEIGHTS)] = None,
    config: Annotated[Path | None, typer.Option(help=_CONFIG)] = None,
    lora: Annotated[str | None, typer.Option(metavar="FILE[:SCALE]", help=_LORA)] = None,
    gate: Annotated[Path | None, typer.Option(help=_GATE)] = None,
    fail_if: Annotated[list[str] | None, typer.Option(help="Such as 'int8-openvino:psnr_db<24'.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore cached measurements.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare bundles with diffusers FP32: latency, memory, size and fidelity, in a report."""
    from mezzotint.benchmarks.benchmark import Extent, run_benchmark

    with show_progress() as progress, warnings_as_lines():
        outcome = run_benchmark(
            *(checkpoint, bundles, output),
            _workload(bundles[0], scheduler, steps, guidance, prompts, limit, (height, width)),
            Extent(
                rounds=rounds,
                images=images,
                bf16_baseline=bf16,
                fp16_baselines=fp16,
                other_seed=other_seed,
                stand_ins=stand_in,
                attribution=attribution,
                speed=speed,
                fidelity=fidelity,
                parts=parts,
                **_in_other_words(peers, weights, config, backends, peer=peer, lora=lora, intervals=cache_interval),
            ),
            fail_if=fail_if or [],
            gate=_conditions(gate, fidelity=fidelity, speed=speed),
            fresh=fresh,
            command=shlex.join(["mezzotint", *sys.argv[1:]]),
            progress=progress,
        )
    _show(outcome, as_json=as_json)


def _in_other_words(
    peers: Path | None,
    weights: Path | None,
    config: Path | None,
    backends: str,
    *,
    peer: list[str] | None,
    lora: str | None,
    intervals: list[int] | None,
) -> dict[str, Any]:
    """What of an Extent lies in other folders and files than checkpoint and bundles, or may be given several times."""
    return {
        "peers": peers,
        "weights": weights,
        "config": config,
        "adapter": None if lora is None else parse_given(lora),
        "backends": tuple(backends.split(",")),
        "peer_names": tuple(peer or ()),
        "cache_intervals": tuple(intervals or ()),
    }


def _conditions(gate: Path | None, *, fidelity: bool, speed: bool) -> list[str]:
    """Those of the file that concern what is measured."""
    from mezzotint.benchmarks.gate_file import read_gate, sections_for

    return [] if gate is None else list(read_gate(gate, sections_for(fidelity=fidelity, speed=speed)))


def _workload(
    bundle: Path,
    scheduler: str | None,
    steps: int | None,
    guidance: float | None,
    prompts: Path,
    limit: int | None,
    size: tuple[int | None, int | None],
) -> "Workload":
    """The prompts with the requested settings, and the bundle's own where there are none; `size` is (height, width)."""
    from mezzotint.benchmarks.cases.workload import Workload, defaults_of
    from mezzotint.runtime.samplers.sampling import Sampling
    from mezzotint.runtime.text.prompts import read_prompts

    height, width = size
    asked = Sampling.settle(defaults_of(bundle, scheduler), None, steps, guidance)
    return Workload(
        prompts=tuple(read_prompts(prompts)[:limit]),
        steps=asked.steps,
        guidance=asked.guidance,
        scheduler=asked.sampler.name,
        height=height,
        width=width,
    )


def _show(outcome: "Benchmark", *, as_json: bool) -> None:
    """What was written; then CheckFailed where a gate condition failed."""
    pages = {"report_html": outcome.report_html, "report_md": outcome.report_md, "results": outcome.results}
    if as_json:
        paths = {name: str(path) for name, path in pages.items()}
        write_json({**paths, "failures": list(outcome.failures), "skipped": list(outcome.not_asked)})
    else:
        _print(outcome, pages)
    if outcome.failures:
        raise CheckFailed("; ".join(outcome.failures))


def _print(outcome: "Benchmark", pages: Mapping[str, Path]) -> None:
    STDOUT.print(f"wrote {', '.join(map(str, pages.values()))}", markup=False)
    if outcome.not_asked:
        skipped = ", ".join(outcome.not_asked)
        STDOUT.print(f"gate conditions skipped (case not benchmarked): {skipped}", markup=False)
