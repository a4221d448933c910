"""`mezzotint report`."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.errors import MezzotintError

from .options import AsJson
from .terminal import STDOUT, write_json


def report(
    results: Annotated[Path, typer.Argument(help="A results.json of an earlier benchmark.")],
    compare: Annotated[Path | None, typer.Option(help="An older results.json: what changed since.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write report.md and report.html again from measured results."""
    from mezzotint.benchmarks.report.report import make_report

    if compare is not None and compare.resolve() == results.resolve():
        raise MezzotintError(
            where=results, what="this file would be compared with itself", advice="pass an older one to --compare"
        )
    paths = make_report(results, compare)
    if as_json:
        write_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        STDOUT.print(f"wrote {path}", markup=False)
