"""Results that are committed, and the pages whose tables are made from them and never typed.

    mezzotint dev publish README.md docs/results reports/bench-demo/results.json ...

Writes docs/results/bench-demo.json without images, docs/results.md with every table and all that one must know to
read it, and README's table again. That one stands between `<!-- results: SPEED.json FIDELITY.json -->`, which names two
of those files, and `<!-- end of results -->`. A `--page docs/gpu.md` has whole tables, each of one file, from
`<!-- results of: FILE.json -->` to the same end mark.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError

from ..figures.formats import MISSING
from ..figures.results import Results, read_results, write_results
from .marks import legend
from .notes import notes
from .readme_table import readme_table
from .strip_image import strip_image
from .summary import Table, published_table

_INTRODUCTION = (
    "Made by `make tables` from the files in `docs/results/`, which have every sample. [measuring.md](measuring.md) "
    "says what each case runs and how figures are taken."
)
_STRIP_CASE = "int8-openvino"
_START = re.compile(r"<!-- results(?: of)?: ")
_BLOCK = re.compile(
    r"(?P<start><!-- results(?: of: (?P<whole>\S+)|: (?P<speed>\S+) (?P<fidelity>\S+)) -->\n)"
    r".*?(?P<end><!-- end of results -->)",
    re.DOTALL,
)


def publish(
    sources: Sequence[Path], folder: Path, readme: Path, strip: Path | None = None, pages: Sequence[Path] = ()
) -> list[Path]:
    """Copy each results.json into `folder` under the name of its own folder; write FOLDER.md and `readme` anew.

    The tables in `pages` are made again too. The image that README begins with is made of the results `strip`, which
    need not be worth publishing. Returns the copies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / f"{source.resolve().parent.name}.json" for source in sources]
    for source, copy in zip(sources, copies, strict=True):
        write_results(without_images(read_results(source)), copy, compact=True)
    if strip is not None:
        strip_image(read_results(strip), strip.parent, _STRIP_CASE).save(folder / "strip.png", optimize=True)
    write_text(folder.with_suffix(".md"), results_page(folder))
    for page in (readme, *pages):
        write_text(page, refresh_tables(page.read_text(encoding="utf-8"), page.parent))
    return copies


def without_images(results: Results) -> Results:
    """The same results, of which a report can be made that shows no images; every sample stays."""
    cases = [
        row
        if row["images"] is None
        else {**row, "images": None, "reasons": {**row["reasons"], "images": "not kept with published results"}}
        for row in results["cases"]
    ]
    return {**results, "cases": cases}  # type: ignore[typeddict-item]  # spread rows are plain mappings to mypy


def refresh_tables(text: str, root: Path) -> str:
    """`text` with its tables made again from the results that they name, below `root`; MezzotintError without them."""
    starts, found = len(_START.findall(text)), list(_BLOCK.finditer(text))
    if starts != len(found):
        raise MezzotintError(f"{starts} tables of results begin, and {len(found)} end; close each with its end mark")
    return _BLOCK.sub(lambda block: f"{block['start']}{_table_text(block, root)}{block['end']}", text)


def results_page(folder: Path) -> str:
    """docs/results.md: a section for every results file of `folder`, with its conditions and notes."""
    sections = [_section(path) for path in sorted(folder.glob("*.json"))]
    return "\n".join(["# Results", "", _INTRODUCTION, "", *sections])


def _table_text(block: re.Match[str], root: Path) -> str:
    if block["whole"] is not None:
        return _whole_block(root / block["whole"])
    return _readme_block(root / block["speed"], root / block["fidelity"])


def _whole_block(path: Path) -> str:
    results = read_results(path)
    table = _markdown(published_table(results))
    return "\n".join(["", table, "", " ".join([*legend(table), *_conditions(results)]), "", ""])


def _readme_block(speed: Path, fidelity: Path) -> str:
    timed, scored = read_results(speed), read_results(fidelity)
    table = _markdown(readme_table(timed, scored))
    remarks = [
        *legend(table),
        f"Time, memory and size: {speed.stem}, {_machine_line(timed)}",
        f"PSNR and SSIM against FP32: {fidelity.stem}, {_workload(scored)}",
    ]
    return "\n".join(["", table, "", " ".join(remarks), "", ""])


def _section(path: Path) -> str:
    results = read_results(path)
    table = _markdown(published_table(results))
    what = f"`{results['command']}`" if results["command"] else "The command was not recorded."
    remarks = [*legend(table), *_conditions(results)]
    told = [f"* {note}" for note in notes(results)]
    return "\n".join([f"## {path.stem}", "", what, "", table, "", *remarks, "", *told, ""])


def _markdown(table: Table) -> str:
    rule = f"|{' --- |' * table.worded}{' ---: |' * (len(table.headings) - table.worded)}"
    rows = [_line(tuple("" if cell == MISSING else cell for cell in row)) for row in table.rows]
    return "\n".join([_line(table.headings), rule, *rows])


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _conditions(results: Results) -> list[str]:
    return [sentence for describe in _CONDITIONS if (sentence := describe(results))]


def _machine_line(results: Results) -> str:
    """Date and processor alone."""
    machine = results["machine"]
    return f"{results['created'][:10]}, {machine['cpu_model']}, {machine['cores']} cores."


def _machine(results: Results) -> str:
    machine = results["machine"]
    sets = ", ".join(machine["instruction_sets"]) or "no 8- or 16-bit instructions"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if " of " not in name)
    where = f"{results['created'][:10]}, {machine['cpu_model']}, {machine['cores']} cores ({sets})"
    return f"{where}; Python {machine['python']}, {versions}."


def _workload(results: Results) -> str:
    workload, count = results["workload"], len(results["workload"]["prompts"])
    size = "" if workload["size"] is None else f", {workload['size'][0]}x{workload['size'][1]} pixels"
    sampling = f"{workload['scheduler']}, {workload['steps']} steps, guidance {workload['guidance']}{size}"
    return f"{count} prompt{'s' if count > 1 else ''}, {sampling}."


def _protocol(results: Results) -> str:
    protocol = results["protocol"]
    what = "UNet steps" if protocol["parts"] else "images"
    if not protocol["rounds"]:
        return ""
    count = len(protocol["rounds"])
    processes = f"{count} fresh process{'es' if count > 1 else ''} of {protocol['images_per_round']} {what} each"
    return f"Times are medians with half of the interquartile range over {processes}."


_CONDITIONS: tuple[Callable[[Results], str], ...] = (_machine, _workload, _protocol)
