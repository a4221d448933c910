"""An adapter in training: factors beside a frozen UNet, AdamW, and an average over steps that is what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from mezzotint.errors import MezzotintError

from ..learning_rate import cosine
from ..loop import Plan, step_seed, train
from ..meter import Meter
from ..workspace import Workspace
from .low_rank import add_low_rank, factors_of, write_adapter
from .plans import Fitting
from .teacher import load_unet

_BETAS = (0.9, 0.99)
_LONGEST_GRADIENT = 1.0


class Objective(Protocol):
    """What is learned."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the figures of a batch."""

    def loss(self, unet: Any, count: int, generator: torch.Generator) -> tuple[torch.Tensor, Sequence[float]]:
        """Of a batch of `count` samples that the generator chooses; and its figures."""


@dataclass(frozen=True, eq=False)
class AdapterTrainee:
    """Make one with `create`."""

    fitting: Fitting
    objective: Objective
    unet: Any  # diffusers.UNet2DConditionModel
    factors: Mapping[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    average: Any  # diffusers' EMAModel

    @classmethod
    def create(cls, checkpoint: Path, fitting: Fitting, objective: Objective) -> "AdapterTrainee":
        """Beside the UNet of a diffusers folder; the plan's seed decides the factors."""
        unet = load_unet(checkpoint)
        factors = factors_of(add_low_rank(unet, fitting.modules, fitting.rank, fitting.seed))
        optimizer = torch.optim.AdamW(factors.values(), betas=_BETAS, weight_decay=0.0, fused=True)
        average = EMAModel(factors.values(), decay=fitting.average_decay, foreach=True)
        return cls(fitting, objective, unet, factors, optimizer, average)

    @property
    def columns(self) -> Sequence[str]:
        """See loop.Trainee."""
        return self.objective.columns

    def train_step(self, step: int) -> Sequence[float]:
        """One batch."""
        fitting = self.fitting
        generator = torch.Generator().manual_seed(step_seed(fitting.seed, step))
        loss, figures = self.objective.loss(self.unet, fitting.batch, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.factors.values(), _LONGEST_GRADIENT)
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(fitting.learning_rate, step, fitting.steps, fitting.warm_up_steps)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.step(self.factors.values())
        return figures

    def averaged(self) -> dict[str, torch.Tensor]:
        """The factors' averages by name."""
        return dict(zip(self.factors, self.average.shadow_params, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Factors, their average, and the optimizer."""
        return {
            "factors": {name: factor.detach() for name, factor in self.factors.items()},
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        with torch.no_grad():
            for name, factor in self.factors.items():
                factor.copy_(state["factors"][name])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def train_adapter(trainee: AdapterTrainee, workspace: Workspace, name: str, output: Path, meter: Meter) -> None:
    """Train to the end, and write the averaged adapter to `output`.

    The state stays in the workspace, so that a plan with more steps goes on from here.
    """
    fitting = trainee.fitting
    plan = Plan(
        fitting.steps,
        fitting.batch,
        fitting.log_every_steps,
        fitting.save_every_s,
        workspace.state(name),
        workspace.losses(name),
    )
    train(trainee, plan, meter)
    write_adapter(output, trainee.averaged())


def write_snapshot(workspace: Workspace, name: str, output: Path) -> int:
    """Write the averaged adapter as an unfinished training has it on disk; after how many steps.

    MezzotintError where there is none.
    """
    if not workspace.state(name).exists():
        raise MezzotintError(f"{workspace.root} has no training of {name} yet; leave --snapshot away")
    state = torch.load(workspace.state(name), map_location="cpu", weights_only=True)
    trained = state["trainee"]
    write_adapter(output, dict(zip(trained["factors"], trained["average"]["shadow_params"], strict=True)))
    return int(state["step"])
