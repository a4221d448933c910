"""The report's roofline: how near each part of an image comes to what the machine could do at most."""

from collections.abc import Mapping

from ..figures.formats import format_number
from ..figures.results import CaseRow, Results, RooflineRow
from .summary import Table

_HEADINGS = ("case", "part", "GMAC", "by precision", "at least", "measured", "of the limit")
_TITLES = {"unet_step": "UNet step"}


def roofline_table(results: Results) -> Table:
    """A row for each part of each bundle: multiplications, the time that they take at the machine's peaks, and theirs.

    A peak is the best that any engine reached in any process: what one does not reach is no limit of the machine's.
    """
    peaks = machine_peaks(results)
    rows = tuple(cells for row in results["cases"] if "roofline" in row for cells in _rows(row, row["roofline"], peaks))
    return Table("How near the limit of the machine", _HEADINGS, rows, worded=2)


def machine_peaks(results: Results) -> dict[str, float]:
    """Billions of multiplications a second, by precision; empty where none were measured."""
    peaks: dict[str, float] = {}
    for row in results["cases"]:
        for precision, rate in row["roofline"]["peaks_gmacs"].items() if "roofline" in row else ():
            peaks[precision] = max(rate, peaks.get(precision, 0.0))
    return peaks


def peaks_text(results: Results) -> str:
    """ "int8 463, bf16 231, f32 114 GMAC/s", the fastest first; empty where none were measured."""
    ordered = sorted(machine_peaks(results).items(), key=lambda one: -one[1])
    listed = ", ".join(f"{name} {format_number(rate)}" for name, rate in ordered)
    return f"{listed} GMAC/s, measured in a second with large products" if listed else ""


def limit_ms(macs: Mapping[str, int], peaks: Mapping[str, float]) -> float | None:
    """Milliseconds of `macs` at the peaks; None where one of the precisions has none."""
    if any(precision not in peaks for precision in macs):
        return None
    return sum(count / peaks[precision] for precision, count in macs.items()) / 1e6


def _rows(row: CaseRow, roofline: RooflineRow, peaks: Mapping[str, float]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for part, macs in roofline["macs"].items():
        latency = row["latency_ms"]
        measured = None if latency is None else latency[part]["median"]  # type: ignore[literal-required]
        limit = limit_ms(macs, peaks)
        total = sum(macs.values())
        by_precision = ", ".join(f"{name} {count / total:.0%}" for name, count in sorted(macs.items()))
        share = "" if measured is None or limit is None else f"{limit / measured:.0%}"
        found.append(
            (
                row["name"],
                _TITLES.get(part, part.replace("_", " ")),
                format_number(total / 1e9),
                by_precision,
                "" if limit is None else f"{format_number(limit)} ms",
                "" if measured is None else f"{format_number(measured)} ms",
                share,
            )
        )
    return found
