"""The training loop: steps, a log of losses, and a state on disk from which a killed training goes on.

Nothing random is kept between steps: step n draws from generators that are seeded with n. So the state is the weights,
what the optimizer remembers, and n, and a resumed training takes the very steps that an uninterrupted one takes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from mezzotint.atomic_file import atomic_path, write_text

from .meter import Meter


class Trainee(Protocol):
    """What is trained."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the losses that a step gives."""

    def train_step(self, step: int) -> Sequence[float]:
        """Take the step number `step`, from 0; its losses."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, its number aside."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


@dataclass(frozen=True)
class Plan:
    """How long, and how often something is written. `batch` is the samples of a step."""

    steps: int
    batch: int
    log_every_steps: int
    save_every_s: float
    state: Path
    losses: Path


@dataclass
class _Progress:
    """Where the training is; `sums` are the losses added up since the last row."""

    step: int
    rows: list[list[float]]
    sums: list[float]


def step_seed(seed: int, step: int) -> int:
    """A seed of its own for each step."""
    return seed * 1_000_003 + step


def train(trainee: Trainee, plan: Plan, meter: Meter) -> None:
    """Train to the end, from where an earlier run left off if one did; the final state is on disk afterwards."""
    progress = _resume(trainee, plan)
    saved = time.monotonic()
    meter.start(progress.step, plan.steps, plan.batch)
    while progress.step < plan.steps:
        losses = trainee.train_step(progress.step)
        progress.step += 1
        meter.advance(progress.step)
        progress.sums = [total + loss for total, loss in zip(progress.sums, losses, strict=True)]
        if progress.step % plan.log_every_steps == 0:
            means = [total / plan.log_every_steps for total in progress.sums]
            progress.rows.append([progress.step * plan.batch, *(round(mean, 4) for mean in means)])
            progress.sums = [0.0] * len(means)
            _write_log(trainee, plan, progress)
            meter.report(dict(zip(trainee.columns, means, strict=True)))
        if progress.step == plan.steps or time.monotonic() - saved >= plan.save_every_s:
            _save(trainee, plan, progress)
            saved = time.monotonic()


def _resume(trainee: Trainee, plan: Plan) -> _Progress:
    if not plan.state.exists():
        return _Progress(0, [], [0.0] * len(trainee.columns))
    state = torch.load(plan.state, map_location="cpu", weights_only=True)
    trainee.load_state_dict(state["trainee"])
    progress = _Progress(state["step"], state["rows"], state["sums"])
    _write_log(trainee, plan, progress)  # without the rows of steps that are taken again
    return progress


def _save(trainee: Trainee, plan: Plan, progress: _Progress) -> None:
    state = {"trainee": trainee.state_dict(), "step": progress.step, "rows": progress.rows, "sums": progress.sums}
    with atomic_path(plan.state) as partial:
        torch.save(state, partial)


def _write_log(trainee: Trainee, plan: Plan, progress: _Progress) -> None:
    lines = [("samples_seen", *trainee.columns), *progress.rows]
    write_text(plan.losses, "".join(",".join(map(str, line)) + "\n" for line in lines))
