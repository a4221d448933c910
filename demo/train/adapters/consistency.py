"""What an LCM-LoRA learns: to say from any state of a guided run where the run ends (Luo et al. 2023).

Their target is the student's own answer one step further along the run, so that the ends travel backwards through it
over thousands of batches. Here runs are at hand as a whole, and the target is their end itself: what the consistency
function is defined as (Song et al. 2023, definition 1), without the detour. Guidance is in the runs, so that a student
needs none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..diffusion import add_noise, alphas_cumprod
from ..precision import autocast
from .plans import Distilling
from .teacher import consistency_timesteps
from .trajectories import Runs

_DATA_VARIANCE = 0.5**2
_TIMESTEP_SCALING = 10.0  # LCMScheduler's


@dataclass(frozen=True, eq=False)
class Consistency:
    """The objective. Make one with `create`."""

    runs: Runs
    plan: Distilling
    points: torch.Tensor  # (P,): how likely each state of a run is
    alphas: torch.Tensor  # (T,)

    columns = ("huber", "x0_mse")

    @classmethod
    def create(cls, runs: Runs, plan: Distilling) -> "Consistency":
        """ValueError where runs of `plan.served` steps visit timesteps that the teacher's do not."""
        points = torch.zeros(len(runs.timesteps))
        for steps in plan.served:
            for timestep in consistency_timesteps(steps, runs.distilled_steps):
                points[runs.timesteps.index(timestep)] += 1.0 / (steps * len(plan.served))
        return cls(runs, plan, points, alphas_cumprod())

    def loss(self, unet: Any, count: int, generator: torch.Generator) -> tuple[torch.Tensor, Sequence[float]]:
        """Of a batch of `count` states: the pseudo-Huber loss, and the figures of `columns`."""
        runs = self.runs
        chosen = torch.randint(len(runs.ends), (count,), generator=generator)
        points = torch.multinomial(self.points, count, replacement=True, generator=generator)
        timesteps = torch.tensor(runs.timesteps)[points]  # (B,)
        ends = runs.ends[chosen].float()
        noise = torch.randn(ends.shape, generator=generator)
        is_new = torch.rand(count, generator=generator) < self.plan.renoised_share
        renoised = add_noise(ends, noise, self.alphas[timesteps])
        states = torch.where(is_new[:, None, None, None], renoised, runs.states[chosen, points].float())
        states = states.contiguous(memory_format=torch.channels_last)
        with autocast():
            epsilon = unet(states, timesteps, runs.said[chosen].float(), return_dict=False)[0]
        found = consistency_function(epsilon.float(), states, timesteps, self.alphas)
        loss = pseudo_huber(found, ends, self.plan.huber)
        return loss, (loss.item(), (found.detach() - ends).square().mean().item())


def consistency_function(
    epsilon: torch.Tensor, states: torch.Tensor, timesteps: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    """Where the student says that runs end (B, 4, h, w), given the noise that its UNet finds in their states.

    At timestep 0 it is the identity: equation 9 of Luo et al. 2023, with LCMScheduler's scalings.
    """
    scaled = (_TIMESTEP_SCALING * timesteps.float())[:, None, None, None]
    skip = _DATA_VARIANCE / (scaled.square() + _DATA_VARIANCE)
    out = scaled / (scaled.square() + _DATA_VARIANCE).sqrt()
    alpha = alphas[timesteps][:, None, None, None]
    x0 = (states - (1.0 - alpha).sqrt() * epsilon) / alpha.sqrt()
    return skip * states + out * x0


def pseudo_huber(found: torch.Tensor, wanted: torch.Tensor, c: float) -> torch.Tensor:
    """The mean of sqrt(d^2 + c^2) - c over all elements."""
    return ((found - wanted).square() + c * c).sqrt().sub(c).mean()
