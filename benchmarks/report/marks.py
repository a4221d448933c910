"""Times with the marks that a published table must carry: what is noisy, and what was measured once."""

from ..figures.formats import format_ms
from ..figures.results import MeasurementRow

NOISY, ONE_SAMPLE = "†", "‡"
LEGEND = {
    NOISY: "interquartile range beyond 10 % of the median: not to be quoted",
    ONE_SAMPLE: "one sample",
}
_DIGITS = 3  # of a figure that nothing says the spread of


def marked_ms(row: MeasurementRow | None) -> str:
    """`format_ms` with its mark; a single sample is rounded to three digits."""
    if row is None:
        return format_ms(row)
    if len(row["samples"]) == 1:
        return f"{_rounded(row['median']):,.10g} ms {ONE_SAMPLE}"
    return f"{format_ms(row)} {NOISY}" if row["noisy"] else format_ms(row)


def legend(text: str) -> list[str]:
    """A line for each mark that `text` carries."""
    return [f"{mark} {meaning}." for mark, meaning in LEGEND.items() if mark in text]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
