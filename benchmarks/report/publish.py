"""Results that are committed, and the README's tables, which are made from them and never typed.

    mezzotint dev publish README.md docs/results reports/bench-demo/results.json ...

Writes docs/results/bench-demo.json, without pictures, and every table of README.md again. A table stands between
`<!-- results: docs/results/bench-demo.json -->` and `<!-- end of results -->`.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError

from ..formats import MISSING
from ..results import Results, read_results, write_results
from .summary import readme_table

__all__ = ["publish", "refresh_tables", "results_block", "without_pictures"]

_BLOCK = re.compile(r"(?P<start><!-- results: (?P<path>\S+) -->\n).*?(?P<end><!-- end of results -->)", re.DOTALL)


def publish(sources: Sequence[Path], folder: Path, readme: Path) -> list[Path]:
    """Copy each results.json into `folder` under the name of its own folder, and write `readme` anew; the copies."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / f"{source.resolve().parent.name}.json" for source in sources]
    for source, copy in zip(sources, copies, strict=True):
        write_results(without_pictures(read_results(source)), copy, compact=True)
    text = readme.read_text(encoding="utf-8")
    write_text(readme, refresh_tables(text, readme.parent))
    return copies


def without_pictures(results: Results) -> Results:
    """The same results, of which a report can be made that shows no pictures; every sample stays."""
    cases = [
        row
        if row["pictures"] is None
        else {**row, "pictures": None, "reasons": {**row["reasons"], "pictures": "not kept with published results"}}
        for row in results["cases"]
    ]
    return {**results, "cases": cases}  # type: ignore[typeddict-item]  # spread rows are plain mappings to mypy


def refresh_tables(text: str, root: Path) -> str:
    """`text` with every table made again from the results that it names, below `root`; MezzotintError without them."""
    starts, found = text.count("<!-- results:"), list(_BLOCK.finditer(text))
    if starts != len(found):
        raise MezzotintError(f"{starts} tables of results begin, and {len(found)} end; close each with its end mark")
    return _BLOCK.sub(lambda block: f"{block['start']}{results_block(root / block['path'])}{block['end']}", text)


def results_block(path: Path) -> str:
    """The table and what one must know to read it, as Markdown."""
    results = read_results(path)
    table = readme_table(results)
    lines = [_line(table.headings), f"|{' --- |' * table.worded}{' ---: |' * (len(table.headings) - table.worded)}"]
    lines += [_line(tuple("" if cell == MISSING else cell for cell in row)) for row in table.rows]
    failed = [f"* {row['name']}: {row['reason']}" for row in results["cases"] if row["status"] == "failed"]
    return "\n".join(["", *lines, "", *failed, *([""] if failed else []), *_conditions(results), "", ""])


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _conditions(results: Results) -> list[str]:
    return [sentence for describe in _CONDITIONS if (sentence := describe(results))]


def _machine(results: Results) -> str:
    machine = results["machine"]
    sets = ", ".join(machine["instruction_sets"]) or "no 8- or 16-bit instructions"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if " of " not in name)
    where = f"{results['created'][:10]}, {machine['cpu_model']}, {machine['cores']} cores ({sets})"
    return f"{where}; Python {machine['python']}, {versions}."


def _workload(results: Results) -> str:
    workload, count = results["workload"], len(results["workload"]["prompts"])
    size = "" if workload["size"] is None else f", {workload['size'][0]}x{workload['size'][1]} pixels"
    drawing = f"{workload['scheduler']}, {workload['steps']} steps, guidance {workload['guidance']}{size}"
    return f"{count} prompt{'s' if count > 1 else ''}, {drawing}."


def _protocol(results: Results) -> str:
    protocol = results["protocol"]
    what = "UNet steps" if protocol["parts"] else "pictures"
    if not protocol["rounds"]:
        return ""
    count = len(protocol["rounds"])
    processes = f"{count} fresh process{'es' if count > 1 else ''} of {protocol['pictures_per_round']} {what} each"
    return f"Times are medians with half of the interquartile range over {processes}."


_CONDITIONS: tuple[Callable[[Results], str], ...] = (_machine, _workload, _protocol)
