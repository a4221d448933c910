"""The Pareto plots of a search: time of an image against PSNR, SSIM, and what images show where that can be told."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mezzotint.benchmarks.report.svg import FIGURE_WIDTH_IN, INK, MUTED, inline_svg, page_style
from mezzotint.bundle.profile import Goal, Promise

from .frontier import frontier
from .judge import TOP1_CONCEPT
from .trials import Trial

CEILING_DB = 60.0
"""Where the decibel axis ends: rounding to 8 bits alone costs an image 59 dB."""

_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#b8860b", "#e7298a")
_MARKERS = "osD^vP"
_LABELS = {
    "psnr_db": f"median PSNR, dB, cut at {CEILING_DB:.0f}",
    "ssim": "median SSIM",
    TOP1_CONCEPT: "images that show their prompt's concept",
}


def pareto_svg(trials: Sequence[Trial], chosen: Trial, name: str, promise: Promise) -> str:
    """An inline <svg> of the figure `name`, one of `_LABELS`; the chosen candidate has a ring."""
    with page_style():
        figure = Figure(figsize=(FIGURE_WIDTH_IN, 3.4), layout="constrained")
        axes = figure.add_subplot()
        variants = sorted({trial.candidate.variant for trial in trials})
        for place, variant in enumerate(variants):
            of_it = [trial for trial in trials if trial.candidate.variant == variant]
            axes.scatter(
                [trial.expected_ms for trial in of_it],
                [_shown(trial, name) for trial in of_it],
                s=22,
                color=_COLOURS[place % len(_COLOURS)],
                marker=_MARKERS[place % len(_MARKERS)],
                alpha=0.75,
                linewidths=0,
                label=variant,
            )
        _mark(axes, trials, chosen, name, promise)
        figure.legend(loc="outside upper left", ncols=min(3, len(variants)), fontsize=8.5)
        return inline_svg(figure, f"pareto-{name.replace('_', '-')}", _description(trials, name))


def _mark(axes: Axes, trials: Sequence[Trial], chosen: Trial, name: str, promise: Promise) -> None:
    front = frontier(trials, name)
    axes.plot([one.expected_ms for one in front], [_shown(one, name) for one in front], color=MUTED, linewidth=1)
    axes.scatter([chosen.expected_ms], [_shown(chosen, name)], s=90, facecolors="none", edgecolors=INK)
    if promise.goal == name:
        axes.axhline(promise.value, color=MUTED, linestyle="--", linewidth=1)
    if promise.goal is not Goal.STEP_MS and name == "psnr_db":
        axes.set_ylim(top=CEILING_DB + 2 if any(_shown(one, name) >= CEILING_DB for one in trials) else None)
    axes.set_xlim(left=0)
    axes.set_xlabel("expected time of an image, ms")
    axes.set_ylabel(_LABELS[name])
    axes.grid(visible=True)


def _shown(trial: Trial, name: str) -> float:
    value = trial.figure(name)
    return min(value, CEILING_DB) if name == "psnr_db" and not math.isnan(value) else value


def _description(trials: Sequence[Trial], name: str) -> str:
    points = "; ".join(f"{one.candidate} {one.expected_ms:.0f} ms {_shown(one, name):.4g}" for one in trials)
    return f"Scatter plot. {points}."
