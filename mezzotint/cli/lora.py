"""`mezzotint lora`."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.adapters.given import parse_given
from mezzotint.bundle.bundle import Bundle
from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.prompts import read_prompts

from .lines.source_lines import adapter_lines
from .options import AsJson, BundlePath, Output, Overwrite
from .terminal import STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

_FILES = "LoRAs or their like (LyCORIS, DoRA), each with its scale."
_LIVE = "Beside the layers instead of in them: each call says how much (generate --lora NAME:SCALE)."
_RANK = "With --live: the largest rank that other forms than LoRA are cut to."
_PROMPTS = "What the fidelity of quantized graphs is measured on, one a line; default: four of the package's."
_BASE = "The FP32 bundle that BUNDLE was quantized from, where it is not FP32 itself."


def lora(
    bundle: BundlePath,
    files: Annotated[list[str], typer.Argument(metavar="FILE[:SCALE]...", help=_FILES)],
    output: Output,
    live: Annotated[bool, typer.Option("--live", help=_LIVE)] = False,
    rank: Annotated[int | None, typer.Option(min=1, help=_RANK)] = None,
    prompts: Annotated[Path | None, typer.Option(help=_PROMPTS)] = None,
    base: Annotated[Path | None, typer.Option(help=_BASE)] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Add LoRAs to a copy of a bundle, FP32 or quantized: to its weights, or beside them."""
    from mezzotint.quantize import add_live_adapters, fuse_adapters

    adapters = [parse_given(one) for one in files]
    if rank is not None and not live:
        raise MezzotintError("--rank is for --live: what is added to weights is not cut; leave it away")
    if prompts is not None and live:
        raise MezzotintError(
            "--prompts is for what is added to weights; with --live nothing is measured, so leave it away"
        )
    with show_progress() as progress, warnings_as_lines():
        if live:
            most = {} if rank is None else {"most_rank": rank}
            made = add_live_adapters(
                bundle, adapters, output, base=base, overwrite=overwrite, progress=progress, **most
            )
        else:
            texts = None if prompts is None else read_prompts(prompts)
            made = fuse_adapters(
                *(bundle, adapters, output), base=base, prompts=texts, overwrite=overwrite, progress=progress
            )
    if as_json:
        write_json(bundle_json(made))
        return
    for line in adapter_lines(made.manifest):
        STDOUT.print(line, markup=False)
    for line in _parities(Bundle.open(bundle), made):
        STDOUT.print(line, markup=False)
    STDOUT.print(f"wrote {output}", markup=False)


def _parities(before: Bundle, made: Bundle) -> list[str]:
    """Of each graph that changed, how close it is to the FP32 graph with the adapters."""
    lines = []
    for name, component in made.manifest.components.items():
        parity = component.parity
        if component.files != before.component(name).files and parity is not None:
            lines.append(f"{name}: {'identical' if parity.identical else f'{parity.sqnr_db} dB'} to {parity.against}")
    return lines
