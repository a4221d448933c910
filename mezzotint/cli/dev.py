"""`mezzotint dev`: tools for working on Mezzotint itself; not listed in `mezzotint --help`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.rtx.library import capabilities_of
from mezzotint.errors import CheckFailed, MezzotintError

from .options import SIZE_HELP, AsJson, BundlePath, pick
from .terminal import STDOUT, write_json

_BACKENDS = ("auto", *(engine.name for engine in ENGINES))
_COMPILED = ("fp16", "int8", "fp8")
_PROMPTS = "Calibration prompts, one a line; default: those that come with the package."
_FLOOR = "Also search for exclusions that reach this figure."

dev = typer.Typer(help="Tools for working on Mezzotint itself.", add_completion=False, no_args_is_help=True)


@dev.command()
def startup(
    bundle: BundlePath,
    backend: Annotated[str, pick("--backend", _BACKENDS, "Engine")] = "auto",
    low_memory: Annotated[bool, typer.Option("--low-memory", help="Load each graph when it is needed.")] = False,
    vae_tiling: Annotated[bool, typer.Option("--vae-tiling", help="Decode in tiles.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 25,
    height: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    runs: Annotated[int, typer.Option(min=1, help="Starts with a warm cache.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure what a program that embeds a bundle waits for its first image, and what memory that takes."""
    from mezzotint.benchmarks.startup import measure_startup, report_lines

    load = {"backend": backend, "low_memory": low_memory}
    call = {"steps": steps, "height": height, "width": width, "vae_tiling": vae_tiling or None}
    measured = measure_startup(bundle, load, call, runs)
    if as_json:
        write_json(
            {"cold": measured.cold, "warm": measured.warm, "outside_graphs_share": measured.outside_graphs_share}
        )
    else:
        STDOUT.print("\n".join(report_lines(measured)), markup=False)


@dev.command()
def publish(
    readme: Annotated[Path, typer.Argument(help="The page whose tables are made again.")],
    folder: Annotated[Path, typer.Argument(help="Where results are kept, without images.")],
    results: Annotated[list[Path] | None, typer.Argument(help="results.json of benchmarks.")] = None,
    strip: Annotated[Path | None, typer.Option(help="results.json whose images README shows.")] = None,
    page: Annotated[list[Path] | None, typer.Option(help="Another page whose tables are made again.")] = None,
) -> None:
    """Keep results of benchmarks, and make the tables of a page from them."""
    from mezzotint.benchmarks.report import publish as publishing

    for copy in publishing.publish(results or [], folder, readme, strip, page or []):
        STDOUT.print(f"wrote {copy}", markup=False)


@dev.command()
def peers(
    checkpoint: Annotated[Path, typer.Argument(help="A diffusers folder.")],
    bundle: Annotated[Path, typer.Argument(help="The FP32 bundle made from it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the peers' artefacts go.")],
    environments: Annotated[Path, typer.Option(help="Where the peers' environments are installed.")],
    prompts: Annotated[Path | None, typer.Option(help=_PROMPTS)] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Those for a GPU, in this environment.")] = False,
    peer: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This one alone; may be given again.")] = None,
) -> None:
    """Install and export what other people have, for `benchmark --peers`; exit code 1 when one cannot be had."""
    from mezzotint.benchmarks.cases.peer_artefacts import Inputs
    from mezzotint.benchmarks.prepare_peers import prepare_peers
    from mezzotint.quantize.calibrate.default_prompts import DEFAULT_PROMPTS

    inputs = Inputs(checkpoint, bundle, prompts or DEFAULT_PROMPTS, output)
    states = prepare_peers(inputs, environments, on_gpu=gpu, names=peer or ())
    for name, state in states.items():
        STDOUT.print(f"{name}: {state.reason or 'ready'}", markup=False)
    lacking = [name for name, state in states.items() if state.reason is not None]
    if lacking:
        raise CheckFailed(f"{', '.join(lacking)} could not be prepared; the others can be benchmarked all the same")


@dev.command()
def gpu(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles for tensorrt or cuda.")],
    reference: Annotated[
        Path | None, typer.Option(help="The FP32 bundle that they came from; without, no images.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help=_PROMPTS)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Images to compare.")] = 32,
) -> None:
    """Print what is known of bundles for GPUs without a GPU, as Markdown: what was compiled, what the numbers do."""
    from mezzotint.families.lineup import family_of
    from mezzotint.optimize import stand_in
    from mezzotint.quantize.calibrate.default_prompts import default_prompts
    from mezzotint.runtime import Bundle
    from mezzotint.runtime.text.prompts import read_prompts

    opened = [Bundle.open(bundle) for bundle in bundles]
    lines = [*stand_in.COMPILED_HEADER, *(line for bundle in opened for line in stand_in.compiled_lines(bundle))]
    if reference is not None:
        texts = (default_prompts() if prompts is None else read_prompts(prompts))[:limit]
        lines += ["", *stand_in.FIDELITY_HEADER]
        for bundle in opened:
            found = stand_in.compare_stand_in(Bundle.open(reference), bundle, texts)
            lines.append(stand_in.fidelity_line(bundle, family_of(bundle).denoiser, found))
    sys.stdout.write("\n".join((*lines, "")))


@dev.command()
def compile_shape(
    bundle: BundlePath,
    components: Annotated[str, typer.Option(help="Components, joined by commas.")] = "text_encoder,unet,vae_decoder",
    recipes: Annotated[str, typer.Option(help="Of the denoiser; all others are in fp16.")] = ",".join(_COMPILED),
    compute_capability: Annotated[
        str | None, typer.Option(help="Joined by commas; default: all that are audited.")
    ] = None,
) -> None:
    """Compile the shape of an FP32 bundle for NVIDIA GPUs with made-up ranges, and print what became of it."""
    from mezzotint.bundle.precision import Storage
    from mezzotint.families.lineup import family_of
    from mezzotint.optimize.stand_in import COMPILED_HEADER, record_lines
    from mezzotint.quantize.decide.recipe import STORAGE_NAMES
    from mezzotint.quantize.verify.compile_shape import compile_shape as compiled
    from mezzotint.runtime import Bundle

    opened = Bundle.open(bundle)
    unknown = [recipe for recipe in recipes.split(",") if recipe not in _COMPILED]
    if unknown:
        raise MezzotintError(what="recipe", got=", ".join(unknown), expected=_COMPILED)
    asked = () if compute_capability is None else capabilities_of(compute_capability)
    sys.stdout.write("\n".join((*COMPILED_HEADER, "")))
    for name in components.split(","):
        is_denoiser = name == family_of(opened).denoiser
        for recipe in recipes.split(",") if is_denoiser else ("fp16",):
            storage = STORAGE_NAMES[recipe] if is_denoiser else Storage.FLOAT16
            audits = compiled(opened, name, storage, asked)
            for line in record_lines(f"{recipe} | {name} ({storage})", [one.record() for one in audits]):
                sys.stdout.write(f"{line}\n")
            for one in audits:
                for text, count in one.warnings.items():
                    sys.stdout.write(f"{count} x {text.strip()} ({one.capability})\n")
                for block in one.unfused:
                    sys.stdout.write(f"not fused: {block.shares} ({one.capability})\n")
            sys.stdout.flush()


@dev.command()
def ablation(
    bundle: BundlePath,
    prompts: Annotated[Path | None, typer.Option(help=_PROMPTS)] = None,
    target: Annotated[str, typer.Option(help="Targets, joined by commas.")] = "openvino,onnxruntime",
    min_sqnr_db: Annotated[float | None, typer.Option(help=_FLOOR)] = None,
) -> None:
    """Print what each part of INT8 quantization is worth, as a Markdown table."""
    from mezzotint.quantize.calibrate.default_prompts import default_prompts
    from mezzotint.quantize.search.ablation import table_lines
    from mezzotint.runtime import Bundle
    from mezzotint.runtime.text.prompts import read_prompts

    texts = default_prompts() if prompts is None else read_prompts(prompts)
    for line in table_lines(Bundle.open(bundle), texts, target.split(","), min_sqnr_db):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()  # a row takes minutes


@dev.command()
def overhead(
    bundle: BundlePath,
    backend: Annotated[str, pick("--backend", _BACKENDS, "Engine")] = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 25,
    rounds: Annotated[int, typer.Option(min=1, help="Images of each kind.")] = 15,
    as_json: AsJson = False,
) -> None:
    """Measure what `mezzotint serve` adds to an image: HTTP, the queue, and a worker in another process."""
    from mezzotint.serve.server.overhead import measure_overhead

    measured = measure_overhead(bundle, backend=backend, steps=steps, rounds=rounds)
    if as_json:
        times = {"direct_ms": measured.direct_ms, "served_ms": measured.served_ms}
        write_json({**times, "share": measured.share, "interval": measured.interval})
    else:
        STDOUT.print("\n".join(measured.lines()), markup=False)
