"""What changed between two benchmarks, figure by figure, and whether it is more than noise.

A change counts when the two 95 % intervals do not overlap: bootstrap intervals of the median, by sample for times and
by prompt for fidelity; for memory, the span over the rounds. Sizes on disk have no noise.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..figures.bootstrap import median_interval
from ..figures.formats import format_bytes, format_value
from ..figures.results import CaseRow, MeasurementRow, Results, Score
from ..metrics.fidelity import METRICS

_TIMES = ("text_encoder", "unet_step", "vae_decoder", "outside_graphs", "end_to_end")
_TITLES = {"end_to_end": "image", "unet_step": "UNet step", "outside_graphs": "outside the graphs"}


@dataclass(frozen=True)
class Figure:
    """A figure with its interval, which None `samples` make exact and one sample makes meaningless.

    `unit` is "ms", "bytes", "dB" or "".
    """

    value: float
    low: float
    high: float
    unit: str
    higher_is_better: bool = False
    samples: int | None = None

    def text(self) -> str:
        """As the other tables write it."""
        if self.unit == "bytes":
            return format_bytes(round(self.value))
        if self.unit == "ms":
            return f"{self.value:,.1f} ms"
        return format_value(None if math.isinf(self.value) else self.value, self.unit)


@dataclass(frozen=True)
class Change:
    """One figure of one case in both. `verdict` is "better", "worse", "noise", "same" or "unknown"."""

    case: str
    name: str
    before: Figure
    now: Figure

    @property
    def verdict(self) -> str:
        """By overlap of the intervals; unknown where a single sample has none."""
        if self.before == self.now:
            return "same"
        if 1 in (self.before.samples, self.now.samples):
            return "unknown"
        if self.before.low <= self.now.high and self.now.low <= self.before.high:
            return "noise"
        return "better" if (self.now.value > self.before.value) == self.now.higher_is_better else "worse"

    @property
    def text(self) -> str:
        """In decibels as a difference, else in percent."""
        before, now = self.before.value, self.now.value
        if math.isinf(before) or math.isinf(now):
            return ""
        if self.now.unit == "dB":
            return f"{now - before:+.1f} dB"
        return f"{100.0 * (now - before) / before:+.1f} %" if before else f"{now - before:+.4f}"


def changes(now: Results, before: Results) -> list[Change]:
    """Every figure that both have, by case in the order of `now`."""
    old = {row["name"]: dict(_figures(row)) for row in before["cases"]}
    return [
        Change(row["name"], name, old[row["name"]][name], figure)
        for row in now["cases"]
        for name, figure in _figures(row)
        if name in old.get(row["name"], {})
    ]


def differences(now: Results, before: Results) -> list[str]:
    """Sentences about what else differs, which forbids comparing times or fidelity, or explains a change."""
    machine, workload = (now["machine"], before["machine"]), (now["workload"], before["workload"])
    found = [
        f"The machine's {key} differ, so a change may not be of the bundles' making."
        for key in ("cpu_model", "cores", "ram_bytes", "versions", "settings")
        if machine[0][key] != machine[1][key]
    ]
    found += [
        f"The workload's {key} differs: the two measured different things."
        for key in ("prompts_sha256", "seed", "steps", "guidance", "scheduler", "size")
        if workload[0][key] != workload[1][key]
    ]
    names, old = ({row["name"] for row in results["cases"]} for results in (now, before))
    found += [f"{name} was not measured before." for name in sorted(names - old)]
    found += [f"{name} is not measured any more." for name in sorted(old - names)]
    return found


def _figures(row: CaseRow) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of all that the row has."""
    for part in _TIMES:
        measured = None if row["latency_ms"] is None else row["latency_ms"][part]  # type: ignore[literal-required]
        if measured is not None:
            yield _TITLES.get(part, part.replace("_", " ")), _time(measured)
    if row["cold_start_ms"] is not None:
        yield "cold start", _time(row["cold_start_ms"])
    memory = row["memory"]
    if memory is not None and memory["peak_rss_bytes"] is not None:
        samples = memory["peak_rss_samples"] or [memory["peak_rss_bytes"]]
        yield "peak memory", Figure(memory["peak_rss_bytes"], min(samples), max(samples), "bytes", samples=len(samples))
    if row["bytes_on_disk"] is not None:
        yield "on disk", Figure(row["bytes_on_disk"], row["bytes_on_disk"], row["bytes_on_disk"], "bytes")
    for metric in METRICS:
        score = (row["fidelity"] or {}).get(metric.name)
        if score is not None and score["ci95"] is not None:
            yield metric.title, _score(score, metric.unit, metric.higher_is_better)


def _time(row: MeasurementRow) -> Figure:
    return Figure(row["median"], *median_interval(row["samples"]), "ms", samples=len(row["samples"]))


def _score(score: Score, unit: str, higher_is_better: bool) -> Figure:
    median, low, high = (
        math.inf if value is None else value for value in (score["median"], *(score["ci95"] or (None, None)))
    )
    return Figure(median, low, high, unit, higher_is_better, len(score["per_prompt"] or ()))
