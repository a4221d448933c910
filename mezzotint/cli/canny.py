"""`mezzotint canny`."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.runtime.images.canny import HIGH, LOW
from mezzotint.runtime.images.canny import canny as find_edges
from mezzotint.runtime.images.files import check_output, read_image, write_image

from .options import Output, Overwrite
from .terminal import STDOUT

Source = Annotated[Path, typer.Argument(help="An image file.")]
Low = Annotated[float, typer.Option(help="What a gradient needs that is joined to an edge, 0 to 2040.")]
High = Annotated[float, typer.Option(help="What a gradient needs to be an edge by itself, 0 to 2040.")]


def canny(image: Source, output: Output, low: Low = LOW, high: High = HIGH, overwrite: Overwrite = False) -> None:
    """Draw the edges of an image, for a ControlNet that follows them."""
    check_output(output, overwrite=overwrite)
    write_image(find_edges(read_image(image), low, high), output, overwrite=overwrite)
    STDOUT.print(f"wrote {output}", markup=False)
