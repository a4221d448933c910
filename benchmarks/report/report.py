"""Turns results.json into report.md and one report.html that needs no other file. Measures nothing."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError

from ..figures.results import Results, read_results
from .compare import Change, changes, differences
from .images import AMPLIFICATION
from .node_tables import node_tables, scheme_table
from .notes import notes
from .plots import draw_plots
from .roofline_table import peaks_text, roofline_table
from .strips import StripPage, build_gallery
from .summary import (
    attribution_table,
    change_table,
    facts,
    fidelity_table,
    gate_table,
    headline,
    speed_table,
    summary_table,
)


def make_report(results_path: Path, before_path: Path | None = None) -> tuple[Path, Path]:
    """Write report.md and report.html beside results.json; their paths. The images are looked for beside it too.

    With the results of an older benchmark in `before_path`, the report also says what changed, and whether it is noise.
    """
    results = read_results(results_path)
    before = None if before_path is None else read_results(before_path)
    folder = results_path.parent
    try:
        gallery = build_gallery(results, folder)
        markdown = _render("report.md.j2", results, before, gallery, is_html=False)
        html = _render("report.html.j2", results, before, gallery, is_html=True)
    except (KeyError, TypeError) as error:
        raise MezzotintError(f"{results_path} is not as a benchmark wrote it ({error!r}); run it again") from error
    write_text(folder / "report.md", markdown)
    write_text(folder / "report.html", html)
    return folder / "report.md", folder / "report.html"


def _render(template: str, results: Results, before: Results | None, gallery: StripPage, *, is_html: bool) -> str:
    environment = Environment(
        autoescape=is_html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = _markdown_cell
    source = files("mezzotint.benchmarks").joinpath("assets", template).read_text(encoding="utf-8")
    found = [] if before is None else changes(results, before)
    remarks = [] if before is None else _comparison(found, before, differences(results, before))
    tables = (change_table(found), summary_table(results), attribution_table(results), gate_table(results))
    details = (speed_table(results), roofline_table(results), fidelity_table(results), scheme_table(results))
    shown = [row for row in results["cases"] if row["images"] is not None and row["role"] != "attribution"]
    return environment.from_string(source).render(
        headline=headline(results),
        notes=[*remarks, *notes(results)],
        tables=[table for table in tables if table.rows],
        details=[table for table in details if table.rows],
        nodes=node_tables(results),
        plots=draw_plots(results) if is_html else [],
        gallery=gallery,
        facts=[*facts(results), *((("Peaks", peaks),) if (peaks := peaks_text(results)) else ())],
        prompts=results["workload"]["prompts"],
        images={row["name"]: row["images"] for row in shown},
        amplification=AMPLIFICATION,
    )


def _comparison(found: Sequence[Change], before: Results, remarks: Sequence[str]) -> list[str]:
    counts = Counter(change.verdict for change in found)
    verdict = (
        f"Since {before['created']}: {counts['worse']} figures are worse, {counts['better']} better, {counts['noise']} "
        f"moved within their 95 % intervals, {counts['same']} are the same, and {counts['unknown']} have one "
        "sample alone, which says nothing."
    )
    return [verdict, *remarks]


def _markdown_cell(text: str) -> str:
    """Text that cannot end a Markdown table's cell, nor be taken for markup."""
    return "".join(f"\\{character}" if character in "\\|`*_<>[]" else character for character in " ".join(text.split()))
