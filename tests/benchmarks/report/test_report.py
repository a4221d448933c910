import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.benchmarks.figures.formats import format_bytes, format_ms
from mezzotint.benchmarks.figures.results import RESULTS_NAME, Results, find_score, read_results, write_results
from mezzotint.benchmarks.report.images import AMPLIFICATION, difference_map
from mezzotint.benchmarks.report.notes import notes
from mezzotint.benchmarks.report.plots import draw_plots
from mezzotint.benchmarks.report.report import make_report
from mezzotint.benchmarks.report.rows import measurement_row
from mezzotint.benchmarks.report.strips import build_gallery, ranked_prompts
from mezzotint.benchmarks.report.summary import headline, speed_table, summary_table
from mezzotint.errors import MezzotintError
from tests.benchmarks.synthetic import PROMPTS, case_row, latency, measured, record, results

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects tags with their attributes, ids and visible text; complains about tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_results(results(folder), folder / "results.json")
    make_report(folder / "results.json")
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_loads_nothing_from_anywhere(page: Page, html: str) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes[name])
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "//" not in re.sub(r'"data:image/png;base64,[^"]*"', "", html)
    assert page.all("script") == []


def test_the_page_can_be_read_without_eyes(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert all(heading["scope"] in ("row", "col") for heading in page.all("th"))
    generations = page.all("svg")
    assert len(generations) == 6
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in generations)
    assert len(page.all("table")) == len(page.all("caption"))


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for _, attributes in page.tags if attributes.get("href", "").startswith("#")]
    assert set(links) <= set(ids)
    labels = [attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)


def test_prompts_are_text_and_never_markup(page: Page, folder: Path) -> None:
    assert all(prompt in page.text for prompt in PROMPTS)
    assert page.all("b") == []
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "a <b>bold" not in markdown


def test_every_figure_is_in_both_pages(page: Page, folder: Path) -> None:
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for text in ("200 ± 3 ms", "4.00x", "612 MB", "59 MB", "identical", "A Processor", "DDIM".lower()):
        assert text in page.text, text
        assert text in markdown, text


def test_markdown_tables_have_as_many_cells_in_every_row(folder: Path) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", (folder / "report.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(blocks) == 7
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block


def test_markdown_shows_images_that_there_are(folder: Path) -> None:
    paths = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (folder / "report.md").read_text(encoding="utf-8"))
    assert len(paths) == 18
    assert all((folder / path).is_file() for path in paths)


def test_the_same_results_give_the_same_page(folder: Path, html: str) -> None:
    make_report(folder / "results.json")
    assert (folder / "report.html").read_text(encoding="utf-8") == html


def test_plots_carry_no_colour_that_one_theme_hides(folder: Path) -> None:
    for plot in draw_plots(results(folder)):
        assert "var(--ink)" in plot.svg
        assert not re.search(r"#0[1-9]0[1-9]0[1-9]|#000000|#ffffff", plot.svg)


def test_notes_say_what_spoils_the_figures(folder: Path) -> None:
    made = results(folder)
    noisy = next(row for row in made["cases"] if row["name"] == "int8-openvino")
    noisy["latency_ms"] = latency(200.0, spread=0.08)
    noisy["foreign_cpu_share"] = 0.31
    text = "\n".join(notes(made))
    assert re.search(r"Other programs ran .*: int8-openvino 31 %\.", text)
    assert "fp16-openvino failed: the process was ended by signal 9" in text
    assert "fp32-onnxruntime: every image is identical" in text
    assert re.search(r"noisy, .*: int8-openvino 24 %\.", text)
    assert "Only 5 prompts" in text
    assert "no closer" not in text


def test_where_parts_were_timed_the_steps_are_judged(folder: Path) -> None:
    made = results(folder)
    made["protocol"]["parts"] = True
    noisy = next(row for row in made["cases"] if row["name"] == "int8-openvino")
    noisy["latency_ms"] = {**latency(200.0), "unet_step": measured(8.0, spread=0.08)}
    assert any(re.search(r"noisy, .*: int8-openvino 24 %\.", note) for note in notes(made))


def test_a_bundle_no_closer_than_another_seed_is_said(folder: Path) -> None:
    made = results(folder)
    made["cases"].append(case_row("int4-openvino", "bundle", 100.0, record(0.3, seed=9), folder))
    assert any(note.startswith("int4-openvino: PSNR") and "no closer" in note for note in notes(made))


def test_ranks_are_by_mean_psnr_over_the_bundles(folder: Path) -> None:
    made = results(folder)
    scores = [find_score(row, "psnr_db") for row in made["cases"] if row["role"] == "bundle"]
    columns = [score["per_prompt"] for score in scores if score is not None and score["per_prompt"] is not None]
    means = [np.mean([100.0 if value is None else value for value in values]) for values in zip(*columns, strict=True)]
    order = np.argsort(means).tolist()
    assert ranked_prompts(made) == [("best", order[-1]), ("median", order[2]), ("worst", order[0])]


def test_a_small_budget_leaves_strips_out_and_says_so(folder: Path) -> None:
    everything, little = build_gallery(results(folder), folder), build_gallery(results(folder), folder, 1)
    assert (len(everything.marked), len(everything.others), everything.left_out) == (3, 2, 0)
    assert (len(little.marked), len(little.others), little.left_out) == (3, 0, 2)


def test_an_image_that_is_gone_is_said(tmp_path: Path) -> None:
    write_results(results(tmp_path), tmp_path / "results.json")
    (tmp_path / "images" / "int8-openvino" / "0001.png").unlink()
    with pytest.raises(MezzotintError, match=r"0001\.png is gone"):
        make_report(tmp_path / "results.json")


def test_results_that_were_edited_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    made = results(tmp_path)
    made["machine"].pop("settings")  # type: ignore[misc]
    write_results(made, tmp_path / "results.json")
    with pytest.raises(MezzotintError, match="settings"):
        make_report(tmp_path / "results.json")
    assert not list(tmp_path.glob("report.*"))


def test_a_report_of_failures_alone_still_renders(tmp_path: Path) -> None:
    made: Results = results(tmp_path)
    made["cases"] = [case_row("int8-openvino", "bundle", None, None, tmp_path)]
    made["workload"]["size"] = None
    write_results(made, tmp_path / "results.json")
    _, page = make_report(tmp_path / "results.json")
    text = Page(page.read_text(encoding="utf-8")).text
    assert "No bundle was measured from beginning to end" in text
    assert "int8-openvino failed" in text


def test_the_headline_is_the_fastest_bundle_that_did_not_fail(folder: Path) -> None:
    made = results(folder)
    assert headline(made).startswith("int8-openvino is the fastest bundle: 200 ± 3 ms an image, 4.00x the speed")
    next(row for row in made["cases"] if row["name"] == "int8-openvino")["status"] = "failed"
    assert headline(made).startswith("int8-onnxruntime is")
    assert summary_table(made).rows[2][2] == "200 ± 3 ms"  # its time stays, the note says that it failed
    assert summary_table(made).rows[4][2] == "failed"


def test_differences_are_amplified_around_grey() -> None:
    reference = Image.fromarray(np.full((2, 2, 3), 100, dtype=np.uint8))
    test = Image.fromarray(np.array([[[100, 103, 97], [255, 0, 100]]] * 2, dtype=np.uint8))
    pixels = np.asarray(difference_map(reference, test))
    assert pixels[0, 0].tolist() == [128, 128 + 3 * AMPLIFICATION, 128 - 3 * AMPLIFICATION]
    assert pixels[0, 1].tolist() == [255, 0, 128]


def test_time_outside_the_graphs_is_said_as_a_share(folder: Path) -> None:
    table = speed_table(read_results(folder / RESULTS_NAME))
    column = table.headings.index("outside the graphs")
    assert {row[column].rpartition(" ")[2] for row in table.rows} == {"(5.0%)"}


def test_figures_are_written_with_their_units() -> None:
    assert format_ms(measured(1234.5)) == "1,234 ± 19 ms"
    assert format_ms(measurement_row([1234.5])) == "1,234 ms"
    assert format_ms(None) == format_bytes(None) == "n/a"
    assert format_bytes(58_939_295) == "59 MB"
    assert format_bytes(25_325_268_992) == "25.3 GB"
