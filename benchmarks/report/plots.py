"""The report's plots, each a function of the results alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..figures.formats import format_bytes, format_ms, format_score
from ..figures.results import CaseRow, MeasurementRow, Results, find_score
from ..measure.timing import Measurement
from .bars import bars, count_by_thousands, make_room
from .styles import styles_of
from .svg import FIGURE_WIDTH_IN, MUTED, inline_svg, page_style

CEILING_DB = 60.0
"""Where decibel axes end: rounding to 8 bits alone costs an image 59 dB, so what lies above cannot be seen."""

_Part = Literal["end_to_end", "unet_step"]


@dataclass(frozen=True)
class Plot:
    """An inline <svg> and the sentence below it."""

    title: str
    svg: str
    caption: str


def draw_plots(results: Results) -> list[Plot]:
    """Those plots for which there are figures."""
    with page_style():
        drawn = [draw(results) for draw in _PLOTS]
    return [plot for plot in drawn if plot is not None]


def _pareto(results: Results) -> Plot | None:
    rows = [row for row in results["cases"] if _has_image_time(row) and _is_scored(row)]
    if not rows:
        return None
    styles = styles_of(results)
    largest = max(row["bytes_on_disk"] or 0 for row in rows) or 1
    columns = _legend_columns([row["name"] for row in rows])
    figure = _figure(3.2 + 0.2 * len(rows) / columns)
    axes = figure.add_subplot()
    for row in rows:
        x, y = _median_ms(row), _clipped_psnr(row)
        style = styles[row["name"]]
        area = 40 + 360 * (row["bytes_on_disk"] or 0) / largest
        label = f"{row['name']}, {_psnr_text(row)}"
        axes.scatter([x], [y], s=area, marker=style.marker, color=style.colour, alpha=0.75, linewidths=0, label=label)
    _mark_reference(axes, results)
    axes.set_xlim(left=0)
    axes.margins(x=0.15)
    axes.set_ylim(0, CEILING_DB + 5)
    count_by_thousands(axes, most_ticks=7)
    axes.set_xlabel("time of an image, ms (less is better)")
    axes.set_ylabel(f"PSNR against FP32, dB, cut at {CEILING_DB:.0f}")
    axes.grid(visible=True)
    for handle in figure.legend(loc="outside upper left", ncols=columns, fontsize=8.5).legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])  # not the area of the mark, which would swell the line
    points = "; ".join(f"{row['name']} {_image_text(row)}, PSNR {_psnr_text(row)}" for row in rows)
    caption = (
        "Up and to the left is better; a mark's area is the size on disk. "
        f"Above {CEILING_DB:.0f} dB a difference is lost in the rounding to 8 bits."
    )
    return Plot("Speed against fidelity", inline_svg(figure, "pareto", f"Scatter plot. {points}."), caption)


def _mark_reference(axes: Axes, results: Results) -> None:
    for row in results["cases"]:
        if row["role"] == "reference" and _has_image_time(row):
            axes.axvline(_median_ms(row), color=MUTED, linestyle="--", linewidth=1)
            axes.annotate(
                row["name"], (_median_ms(row), 0), (-4, 6), textcoords="offset points", rotation=90, ha="right"
            )


def _latency(results: Results) -> Plot | None:
    caption = "End to end, from prompt to pixels. The thin lines reach from the first to the third quartile."
    return _time_bars(results, "end_to_end", "Time of an image", caption)


def _unet_step(results: Results) -> Plot | None:
    caption = "One guided step, both halves in one call. The thin lines reach from the first to the third quartile."
    return _time_bars(results, "unet_step", "Time of a UNet step", caption)


def _time_bars(results: Results, part: _Part, title: str, caption: str) -> Plot | None:
    timed = [(row, row["latency_ms"][part]) for row in results["cases"] if row["latency_ms"] is not None]
    measured = [(row, samples) for row, samples in timed if samples is not None]
    if not measured:
        return None
    rows = [row for row, _ in measured]
    values = [samples["median"] for _, samples in measured]
    errors = [_quartile_distances(samples) for _, samples in measured]
    labels = [format_ms(samples) for _, samples in measured]
    figure = _figure(0.9 + 0.34 * len(rows))
    axes = figure.add_subplot()
    texts = bars(axes, results, rows, values, labels, errors)
    axes.set_xlabel("ms; median and quartiles")
    make_room(axes, texts)
    text = "; ".join(f"{row['name']} {label}" for row, label in zip(rows, labels, strict=True))
    return Plot(title, inline_svg(figure, part.replace("_", "-"), f"Bar chart. {text}."), caption)


def _memory(results: Results) -> Plot | None:
    rows = [
        row for row in results["cases"] if row["memory"] is not None and row["memory"]["peak_rss_bytes"] is not None
    ]
    if not rows:
        return None
    peaks = [(row["memory"]["peak_rss_bytes"] or 0) if row["memory"] else 0 for row in rows]
    sizes = [row["bytes_on_disk"] or 0 for row in rows]
    figure = _figure(1.5 + 0.62 * len(rows))
    upper, lower = figure.subplots(2, 1)
    spans = [_peak_span(row) for row in rows]
    charts = []
    for axes, counts, label, errors in (
        (upper, peaks, "peak resident memory, MB", spans),
        (lower, sizes, "files on disk, MB", ()),
    ):
        megabytes, labels = [count / 1e6 for count in counts], [format_bytes(count) for count in counts]
        charts.append((axes, bars(axes, results, rows, megabytes, labels, errors)))
        axes.set_xlabel(label)
    for axes, texts in charts:
        make_room(axes, texts)
    text = "; ".join(
        f"{row['name']} {format_bytes(peak)} in memory, {format_bytes(size)} on disk"
        for row, peak, size in zip(rows, peaks, sizes, strict=True)
    )
    caption = (
        "Memory is the kernel's high-water mark of the whole process, interpreter and libraries included. The bar is "
        "the largest round, the thin line reaches down to the smallest."
    )
    return Plot("Memory and size", inline_svg(figure, "memory", f"Bar charts. {text}."), caption)


def _eps_curve(results: Results) -> Plot | None:
    caption = "Each step's guided UNet output on the reference's states, so errors do not add up. Median over prompts."
    return _curves(results, (("eps_sqnr_db", "-"),), "Error of each step", caption, "eps")


def _eps_halves(results: Results) -> Plot | None:
    caption = (
        "As above, before guidance puts the halves together: the prompt's solid, the negative prompt's dashed. "
        "Without the peers."
    )
    metrics = (("eps_cond_sqnr_db", "-"), ("eps_uncond_sqnr_db", "--"))
    return _curves(results, metrics, "Error of each half of a step", caption, "halves")


def _curves(results: Results, metrics: Sequence[tuple[str, str]], title: str, caption: str, name: str) -> Plot | None:
    """One line a case and metric, in the metric's line style; the first metric's lines are named.

    With several lines a case, peers are left out: too many to tell apart.
    """
    left_out = ("attribution",) if len(metrics) == 1 else ("attribution", "peer")
    curves = [
        (row["name"], values, line)
        for metric, line in metrics
        for row in results["cases"]
        if row["role"] not in left_out and (values := _per_step(row, metric))
    ]
    if not curves:
        return None
    styles = styles_of(results)
    columns = _legend_columns([case for case, _, _ in curves])
    figure = _figure(3.2 + 0.2 * len(curves) / columns)
    axes = figure.add_subplot()
    for case, values, line in curves:
        style, drawn = styles[case], [min(value, CEILING_DB) for value in values]
        label = case if line == metrics[0][1] else None
        axes.plot(
            range(1, len(values) + 1), drawn, line, color=style.colour, marker=style.marker, markersize=3.5, label=label
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step, from pure noise to image")
    axes.set_ylabel(f"eps SQNR, dB, cut at {CEILING_DB:.0f}")
    axes.grid(visible=True)
    figure.legend(loc="outside upper left", ncols=columns, fontsize=8.5)
    ends = "; ".join(f"{case} from {values[0]:.0f} to {values[-1]:.0f} dB" for case, values, _ in curves)
    return Plot(title, inline_svg(figure, name, f"Line chart over steps. {ends}."), caption)


def _per_step(row: CaseRow, metric: str) -> list[float]:
    """Empty where there are none, or where all steps are identical."""
    score = find_score(row, metric)
    per_step = None if score is None else score.get("per_step")
    if not per_step or all(value is None for value in per_step):
        return []
    return [CEILING_DB if value is None else value for value in per_step]


_PLOTS: tuple[Callable[[Results], Plot | None], ...] = (
    _pareto,
    _latency,
    _unet_step,
    _memory,
    _eps_curve,
    _eps_halves,
)


def _figure(height_in: float) -> Figure:
    return Figure(figsize=(FIGURE_WIDTH_IN, height_in), layout="constrained")


def _legend_columns(names: Sequence[str]) -> int:
    """Two where the longest name, with its figure, leaves room for another beside it."""
    return 2 if max(len(name) for name in names) < 18 else 1


def _has_image_time(row: CaseRow) -> bool:
    return row["latency_ms"] is not None and row["latency_ms"]["end_to_end"] is not None


def _median_ms(row: CaseRow) -> float:
    image = row["latency_ms"]["end_to_end"] if row["latency_ms"] else None
    return math.nan if image is None else image["median"]


def _quartile_distances(row: MeasurementRow) -> tuple[float, float]:
    measurement = Measurement(tuple(row["samples"]))
    lower, upper = measurement.quartiles
    return measurement.median - lower, upper - measurement.median


def _peak_span(row: CaseRow) -> tuple[float, float]:
    """How far, in MB, the rounds' peaks lie below and above the largest, which the bar shows."""
    memory = row["memory"]
    peaks = memory["peak_rss_samples"] if memory is not None else []
    return ((max(peaks) - min(peaks)) / 1e6, 0.0) if peaks else (0.0, 0.0)


def _is_scored(row: CaseRow) -> bool:
    score = find_score(row, "psnr_db")
    return score is not None and score["per_prompt"] is not None


def _clipped_psnr(row: CaseRow) -> float:
    score = find_score(row, "psnr_db")
    median = None if score is None else score["median"]
    return CEILING_DB if median is None else min(median, CEILING_DB)


def _image_text(row: CaseRow) -> str:
    return format_ms(row["latency_ms"] and row["latency_ms"]["end_to_end"])


def _psnr_text(row: CaseRow) -> str:
    return format_score(find_score(row, "psnr_db"), "median", "dB")
