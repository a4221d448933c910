"""A matplotlib figure as SVG inside a page: its colours follow the page's theme, its ids clash with nobody's.

The same figure gives the same bytes: no date, and ids from a fixed salt.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

FIGURE_WIDTH_IN = 4.5
"""A phone's page, so that text drawn at its own size can be read there."""

INK, MUTED, LINE = "#010203", "#040506", "#070809"
"""Colours that are drawn as the page's own text, secondary text and lines."""

_THEMED = ((INK, "var(--ink)"), (MUTED, "var(--muted)"), (LINE, "var(--line)"))
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "mezzotint",
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and selected
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


@contextmanager
def page_style() -> Iterator[None]:
    """Draw and save figures inside this: the page's style, without leaving matplotlib's settings changed."""
    with matplotlib.rc_context(_STYLE):
        yield


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an <svg> element with `description` for those who do not see it; `name` keeps its ids apart."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text).replace("url(#", f"url(#{name}-")
    for colour, variable in _THEMED:
        text = text.replace(colour, variable)
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {box.group(0) if box else ""} role="img" aria-label="{_escape(description)}">'
    return head + text[text.index(">") + 1 :].strip()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
