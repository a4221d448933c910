"""`mezzotint lora`."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.adapters.given import parse_given
from mezzotint.bundle.bundle import Bundle
from mezzotint.errors import MezzotintError

from .lines.source_lines import adapter_lines
from .options import AsJson, BundlePath, Output, Overwrite
from .terminal import STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

_FILES = "LoRAs or their like (LyCORIS, DoRA), each with its scale."
_LIVE = "Beside the layers instead of in them: each call says how much (generate --lora NAME:SCALE)."
_RANK = "With --live: the largest rank that other forms than LoRA are cut to."
_BASE = "The FP32 bundle that BUNDLE was quantized from, where it is not FP32 itself."


def lora(
    bundle: BundlePath,
    files: Annotated[list[str], typer.Argument(metavar="FILE[:SCALE]...", help=_FILES)],
    output: Output,
    live: Annotated[bool, typer.Option("--live", help=_LIVE)] = False,
    rank: Annotated[int | None, typer.Option(min=1, help=_RANK)] = None,
    base: Annotated[Path | None, typer.Option(help=_BASE)] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Add LoRAs to a copy of a bundle, FP32 or quantized: to its weights, or beside them."""
    from mezzotint.quantize import add_live_adapters, fuse_adapters

    adapters = [parse_given(one) for one in files]
    if rank is not None and not live:
        raise MezzotintError("--rank is for --live: what is added to weights is not cut; leave it away")
    with show_progress() as progress, warnings_as_lines():
        if live:
            most = {} if rank is None else {"most_rank": rank}
            made = add_live_adapters(
                bundle, adapters, output, base=base, overwrite=overwrite, progress=progress, **most
            )
        else:
            made = fuse_adapters(bundle, adapters, output, base=base, overwrite=overwrite, progress=progress)
    if as_json:
        write_json(bundle_json(made))
        return
    for line in adapter_lines(made.manifest):
        STDOUT.print(line, markup=False)
    for line in _parities(Bundle.open(bundle), made):
        STDOUT.print(line, markup=False)
    STDOUT.print(f"wrote {output}", markup=False)


def _parities(before: Bundle, made: Bundle) -> list[str]:
    """Of each quantized graph that changed, what is left of its fidelity and what there was."""
    lines = []
    for name, component in made.manifest.components.items():
        old = before.component(name)
        if component.files != old.files and component.parity is not None:
            was = "" if old.parity is None else f", it was {old.parity.sqnr_db} dB"
            lines.append(f"{name}: {component.parity.sqnr_db} dB against {component.parity.against}{was}")
    return lines
