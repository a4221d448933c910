"""`mezzotint embedding`."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.adapters.embedding import parse_embedding

from .lines.source_lines import word_lines
from .options import AsJson, BundlePath, Output, Overwrite
from .terminal import STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

_FILES = "Files of textual inversion, each with the word that it is to be (default: the file's own, or its name)."
_BASE = "The FP32 bundle that BUNDLE was quantized from, where it is not FP32 itself."


def embedding(
    bundle: BundlePath,
    files: Annotated[list[str], typer.Argument(metavar="FILE[:WORD]...", help=_FILES)],
    output: Output,
    base: Annotated[Path | None, typer.Option(help=_BASE)] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Teach a copy of a bundle the words that textual inversion learned."""
    from mezzotint.quantize import add_embeddings

    given = [parse_embedding(one) for one in files]
    with show_progress() as progress, warnings_as_lines():
        made = add_embeddings(bundle, given, output, base=base, overwrite=overwrite, progress=progress)
    if as_json:
        write_json(bundle_json(made))
        return
    for line in word_lines(made.manifest):
        STDOUT.print(line, markup=False)
    STDOUT.print(f"wrote {output}", markup=False)
