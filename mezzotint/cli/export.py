"""`mezzotint export`."""

from typing import Annotated

import typer

from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.spacing import SPACINGS

from .options import OWN, AsJson, Output, Overwrite, pick
from .terminal import STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

_SAMPLERS = tuple(sampler.name for sampler in SAMPLERS)


def export(
    checkpoint: Annotated[str, typer.Argument(help="A diffusers folder, a hub id, or a folder that Optimum exported.")],
    output: Output,
    variant: Annotated[
        str | None, typer.Option(help="Weights to take where there are several, such as fp16 or non_ema.")
    ] = None,
    scheduler: Annotated[str | None, pick("--scheduler", _SAMPLERS, f"The bundle's own sampler; {OWN}")] = None,
    schedule: Annotated[str | None, pick("--schedule", SPACINGS, f"The bundle's own spacing; {OWN}")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="The bundle's own; few for a distilled checkpoint.")] = None,
    guidance: Annotated[float | None, typer.Option(help="The bundle's own; 1 or less for a distilled one.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Export a checkpoint to a bundle of FP32 ONNX graphs, each checked against PyTorch."""
    from mezzotint.export import Chosen, export_checkpoint

    chosen = Chosen(scheduler=scheduler, steps=steps, guidance=guidance, schedule=schedule)
    with show_progress() as progress, warnings_as_lines():
        bundle = export_checkpoint(
            checkpoint, output, variant=variant, chosen=chosen, overwrite=overwrite, progress=progress
        )
    if as_json:
        write_json(bundle_json(bundle))
        return
    for name, taken in bundle.manifest.source.variants.items():
        STDOUT.print(f"{name}: from the {taken} weights")
    for name, component in bundle.manifest.components.items():
        parity = component.parity
        agreement = "not checked" if parity is None else f"{parity.sqnr_db} dB against {parity.against}"
        STDOUT.print(f"{name}: {agreement}")
    STDOUT.print(f"wrote {output}")
