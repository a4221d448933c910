"""How a report writes figures: units, digits, and what stands in the place of a figure that there is not."""

from .results import IDENTICAL, MeasurementRow, Score

MISSING = "n/a"


def format_ms(row: MeasurementRow | None) -> str:
    """Median with its interquartile range: "183 ± 4 ms" has half of the range on either side; one sample has none."""
    if row is None:
        return MISSING
    digits = 0 if row["median"] >= 100 else 1 if row["median"] >= 10 else 2
    spread = f" ± {row['iqr'] / 2:,.{digits}f}" if len(row["samples"]) > 1 else ""
    return f"{row['median']:,.{digits}f}{spread} ms"


def format_bytes(count: int | None) -> str:
    """Decimal megabytes, or gigabytes from 10 GB on."""
    if count is None:
        return MISSING
    return f"{count / 1e9:,.1f} GB" if count >= 10e9 else f"{count / 1e6:,.0f} MB"


def format_factor(factor: float | None) -> str:
    """A ratio of times: "4.1x"."""
    return MISSING if factor is None else f"{factor:.2f}x" if factor < 10 else f"{factor:.1f}x"


def format_number(value: float | None) -> str:
    """A figure of any unit: six digits, and never an exponent."""
    return MISSING if value is None else f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.6g}"


def format_score(score: Score | None, figure: str, unit: str) -> str:
    """The "median" or "p5" of a score."""
    if score is None:
        return MISSING
    value = score["median"] if figure == "median" else score["p5"]
    if value is None:
        return IDENTICAL if score["reasons"].get(figure) == IDENTICAL else MISSING
    return format_value(value, unit)


def format_value(value: float | None, unit: str) -> str:
    """Decibels with one digit, shares with four, small ones with six; infinitely many decibels are "identical"."""
    if value is None:
        return IDENTICAL
    if unit == "dB":
        return f"{value:.1f} {unit}"
    return f"{value:.6f}" if 0.0 < abs(value) < 0.01 else f"{value:.4f}"
