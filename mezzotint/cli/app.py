"""The command line: thin commands over the library.

Exit codes: 0 done, 1 a check failed, 2 the user's input, 130 interrupted.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mezzotint import __version__
from mezzotint.disk_full import disk_full_error
from mezzotint.errors import MezzotintError

from .benchmark import benchmark, report
from .generate import OWN, SAMPLERS_HELP, generate
from .terminal import STDERR, STDOUT, show_progress, warnings_as_lines

__all__ = ["app", "main"]

app = typer.Typer(
    help="Make Stable Diffusion small and fast, and measure what that cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_EXTRAS = {  # what a command needs beyond the runtime
    "export": "cpu,export",
    "quantize": "cpu,openvino,quantize",
    "audit": "quantize",
    "benchmark": "benchmark",
    "report": "benchmark",
}

_SIZE_HELP = "To calibrate for, in pixels; the checkpoint's own without."

Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
BundlePath = Annotated[Path, typer.Argument(help="A bundle folder.")]


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="A diffusers folder, a hub id, or a folder that Optimum exported.")],
    output: Output,
    variant: Annotated[
        str | None, typer.Option(help="Weights to take where there are several, such as fp16 or non_ema.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help=f"The bundle's own from now on. {SAMPLERS_HELP}")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="The bundle's own; few for a distilled checkpoint.")] = None,
    guidance: Annotated[float | None, typer.Option(help="The bundle's own; 1 or less for a distilled one.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a checkpoint to a bundle of FP32 ONNX graphs, each checked against PyTorch."""
    from mezzotint.export import Chosen, export_checkpoint

    chosen = Chosen(scheduler=scheduler, steps=steps, guidance=guidance)
    with show_progress() as progress, warnings_as_lines():
        bundle = export_checkpoint(
            checkpoint, output, variant=variant, chosen=chosen, overwrite=overwrite, progress=progress
        )
    for name, taken in bundle.manifest.source.variants.items():
        STDOUT.print(f"{name}: from the {taken} weights")
    for name, component in bundle.manifest.components.items():
        parity = component.parity
        agreement = "not checked" if parity is None else f"{parity.sqnr_db} dB against {parity.against}"
        STDOUT.print(f"{name}: {agreement}")
    STDOUT.print(f"wrote {output}")


@app.command()
def quantize(
    bundle: BundlePath,
    output: Output,
    recipe: Annotated[str, typer.Option(help="int8, fp16 or int8-weights.")],
    target: Annotated[str, typer.Option(help="openvino, onnxruntime, cuda or tensorrt.")],
    prompts: Annotated[Path | None, typer.Option(help="Calibration prompts, one a line; INT8 needs them.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="COMPONENT=SCHEME, such as vae_decoder=int8.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help=f"To calibrate for. {OWN}")] = None,
    guidance: Annotated[float | None, typer.Option(min=0.0, help=f"To calibrate for. {OWN}")] = None,
    scheduler: Annotated[str | None, typer.Option(help=f"To calibrate for. {SAMPLERS_HELP}")] = None,
    height: Annotated[int | None, typer.Option(help=_SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=_SIZE_HELP)] = None,
    trajectories: Annotated[int, typer.Option(min=1, help="Prompts to draw, spread over the file.")] = 32,
    visits: Annotated[int, typer.Option(min=1, help="Steps of each, at least; together they make all.")] = 12,
    calls: Annotated[int, typer.Option(min=1, help="UNet calls that statistics are taken from.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the calibration.")] = 0,
    min_sqnr_db: Annotated[
        float | None, typer.Option(help="Leave nodes out of INT8 until the output reaches this many dB.")
    ] = None,
    costs: Annotated[
        Path | None, typer.Option(help="File of measured times for --min-sqnr-db; what it lacks is added.")
    ] = None,
    split_shortcuts: Annotated[
        bool, typer.Option("--split-shortcuts", help="INT8 for shortcut convolutions too, split by channel range.")
    ] = False,
    memory_limit: Annotated[
        str | None, typer.Option(help="Most memory that collecting statistics may take, such as 6GB; slower.")
    ] = None,
    overwrite: Overwrite = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="List every place that a graph rewrite left as it was, and why.")
    ] = False,
) -> None:
    """Quantize an FP32 bundle for a target."""
    from mezzotint.quantize import CalibrationSettings, quantize_bundle
    from mezzotint.quantize.calibrate.memory_limit import parse_bytes
    from mezzotint.runtime import Bundle
    from mezzotint.runtime.text.prompts import read_prompts

    from .inspect import declined_lines

    settings = replace(
        CalibrationSettings.of(Bundle.open(bundle), scheduler, steps, guidance),
        trajectories=trajectories,
        calls=calls,
        seed=seed,
        visits=visits,
        height=height,
        width=width,
    )
    with show_progress() as progress:
        result = quantize_bundle(
            bundle,
            output,
            recipe=recipe,
            target=target,
            prompts=read_prompts(prompts) if prompts else (),
            overrides=_overrides(set_ or []),
            settings=settings,
            min_sqnr_db=min_sqnr_db,
            costs=costs,
            split_shortcuts=split_shortcuts,
            memory_limit_bytes=None if memory_limit is None else parse_bytes(memory_limit),
            overwrite=overwrite,
            progress=progress,
        )
    for name, component in result.manifest.components.items():
        parity = component.parity
        figure = "not checked" if parity is None else "identical" if parity.identical else f"{parity.sqnr_db} dB"
        size = sum(entry.bytes for entry in component.files) / 1e6
        STDOUT.print(
            f"{name}: {component.storage}, computes in {component.compute}, {size:.1f} MB, {figure} against FP32"
        )
        if component.float32_weights:
            STDOUT.print(f"  in float32, beyond what FP16 can hold: {', '.join(component.float32_weights)}")
    declined = declined_lines(result)
    if verbose:
        STDOUT.print("\n".join(declined) or "no graph rewrite declined anything", markup=False)
    elif declined:
        STDOUT.print(f"graph rewrites left {len(declined)} places as they were; --verbose and `inspect` say why")
    STDOUT.print(f"wrote {output}")


app.command()(generate)


app.command()(benchmark)
app.command()(report)


@app.command()
def inspect(
    bundle: BundlePath,
    explain: Annotated[
        str | None, typer.Option(help="Say why a node has its precision; a part of its name does.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Show what is in a bundle and how it was made."""
    from mezzotint.runtime import Bundle

    from .inspect import component_table, declined_table, explain_node

    opened = Bundle.open(bundle)
    if explain is not None:
        STDOUT.print_json(json.dumps(explain_node(opened, explain)))
    elif as_json:
        STDOUT.print_json(opened.manifest.to_json())
    else:
        STDOUT.print(component_table(opened))
        declined = declined_table(opened)
        if declined is not None:
            STDOUT.print(declined)


@app.command()
def audit(
    bundle: BundlePath,
    backend: Annotated[str, typer.Option(help="auto, openvino, onnxruntime, cuda or tensorrt.")] = "auto",
    component: Annotated[str | None, typer.Option(help="The component to run; the denoiser without.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every kernel as JSON.")] = False,
) -> None:
    """Run a graph and show which kernels really ran, at which precision; exit 1 when INT8 ran in float."""
    from mezzotint.quantize import audit_bundle, check_promise
    from mezzotint.runtime import Bundle

    from .inspect import audit_json, audit_table

    result = audit_bundle(Bundle.open(bundle), backend, component)
    if as_json:
        STDOUT.print_json(audit_json(result))
    else:
        STDOUT.print(audit_table(result))
    check_promise(result)


@app.command()
def verify(bundle: BundlePath) -> None:
    """Check every file of a bundle against its hash."""
    from mezzotint.runtime import Bundle

    count = Bundle.open(bundle).verify()
    STDOUT.print(f"{bundle}: {count} files are what the manifest says")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """The group itself."""
    if show:
        STDOUT.print(__version__)
        raise typer.Exit


def _overrides(pairs: list[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for pair in pairs:
        component, separator, scheme = pair.partition("=")
        if not separator:
            raise MezzotintError(f"--set got {pair!r}, expected COMPONENT=SCHEME such as vae_decoder=fp16")
        overrides[component] = scheme
    return overrides


def main() -> None:
    """Run the command line and exit; Typer itself exits with 2 for wrong usage and 130 for an interrupt."""
    try:
        app()
    except MezzotintError as error:
        STDERR.print(f"mezzotint: {error}", markup=False)
        sys.exit(error.exit_code)
    except OSError as error:
        full = disk_full_error(error)
        if full is None:
            raise
        STDERR.print(f"mezzotint: {full}", markup=False)
        sys.exit(full.exit_code)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(sys.argv[1])
        if extra is None or (error.name or "").startswith("mezzotint"):
            raise
        needed = f"`pip install 'mezzotint[{extra}]'`"
        STDERR.print(f"mezzotint: {error.name} is not installed; install it with {needed}", markup=False)
        sys.exit(2)
