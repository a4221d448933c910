"""Horizontal bars with their figures beside them, inside the axes."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..figures.results import CaseRow, Results
from .styles import styles_of
from .svg import INK

_LONGEST_NAME = 26
"""Characters: longer ones, of bundles that are told apart by their folders, would leave no room for the bars."""


def bars(
    axes: Axes,
    results: Results,
    rows: Sequence[CaseRow],
    values: Sequence[float],
    labels: Sequence[str],
    errors: Sequence[tuple[float, float]] = (),
) -> list[Annotation]:
    """Horizontal bars, the first row on top, each with its figure at the end; these texts, for `make_room`."""
    styles = styles_of(results)
    places = range(len(rows))
    axes.barh(places, values, color=[styles[row["name"]].colour for row in rows], height=0.62)
    ends = [value + (errors[place][1] if errors else 0.0) for place, value in enumerate(values)]
    texts = [
        axes.annotate(label, (end, place), (6, 0), textcoords="offset points", va="center")
        for place, (end, label) in enumerate(zip(ends, labels, strict=True))
    ]
    if errors:
        reaches = tuple(zip(*errors, strict=True))
        axes.errorbar(values, places, xerr=reaches, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    axes.set_yticks(places, [textwrap.fill(row["name"], _LONGEST_NAME) for row in rows])
    axes.set_xlim(0, max(ends))
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    count_by_thousands(axes, most_ticks=5)
    return texts


def make_room(axes: Axes, texts: Sequence[Annotation]) -> None:
    """Widen the axis until the figures beside the bars end within it. Everything else of the figure must be there."""
    for text in texts:
        text.set_in_layout(False)  # or the layout would make the axes narrower instead
    figure = axes.get_figure(root=True)
    assert figure is not None  # the axes were made by one
    figure.draw_without_rendering()
    width, gap = axes.get_window_extent().width, 0.02
    shares = [(text.xy[0], text.get_window_extent().width / width + gap) for text in texts]
    offset = 6 / 72 * figure.dpi / width
    axes.set_xlim(0, max(end / max(1 - share - offset, 0.1) for end, share in shares))


def count_by_thousands(axes: Axes, most_ticks: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(most_ticks - 1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
