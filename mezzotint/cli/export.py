"""`mezzotint export`."""

from typing import Annotated

import typer

from .options import AsJson, Output, Overwrite
from .terminal import STDOUT, bundle_json, show_progress, write_json


def export(
    checkpoint: Annotated[str, typer.Argument(help="A diffusers folder, a hub id, or a folder that Optimum exported.")],
    output: Output,
    variant: Annotated[
        str | None, typer.Option(help="Weights to take where there are several, such as fp16 or non_ema.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Export a checkpoint to a bundle of FP32 ONNX graphs, each checked against PyTorch."""
    from mezzotint.export import export_checkpoint

    with show_progress() as progress:
        bundle = export_checkpoint(checkpoint, output, variant=variant, overwrite=overwrite, progress=progress)
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
