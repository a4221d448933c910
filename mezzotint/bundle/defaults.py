"""What a checkpoint is meant to run with, for those who do not say: sampler, steps and guidance.

The one place where the product's own 25 steps and guidance of 5 stand. The sampler is that of the scheduler class which
scheduler_config.json names, as in diffusers' `pipe(prompt)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mezzotint.errors import MezzotintError

from .records import LEFT_OUT

STEPS: Final = 25
GUIDANCE: Final = 5.0
MOST_GUIDANCE: Final = 1000.0  # far beyond any use; much more overflows float32
ALL_OF_THE_RUN: Final = (0.0, 1.0)

# Samplers whose models were distilled to few steps, without a negative half: steps and guidance.
_DISTILLED: Final[Mapping[str, tuple[int, float]]] = {"lcm": (4, 1.0), "tcd": (4, 1.0)}

OF_CLASSES: Final[Mapping[str, str]] = {  # diffusers' scheduler class -> the sampler here
    "DDIMScheduler": "ddim",
    "DDIMParallelScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DDPMParallelScheduler": "ddpm",
    "PNDMScheduler": "pndm",
    "LMSDiscreteScheduler": "lms",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler-ancestral",
    "HeunDiscreteScheduler": "heun",
    "DPMSolverMultistepScheduler": "dpmpp-2m",
    "DPMSolverSinglestepScheduler": "dpmpp-2s",
    "UniPCMultistepScheduler": "unipc",
    "DEISMultistepScheduler": "deis",
    "LCMScheduler": "lcm",
    "TCDScheduler": "tcd",
    "EDMEulerScheduler": "euler",
    "EDMDPMSolverMultistepScheduler": "dpmpp-2m",
    "FlowMatchEulerDiscreteScheduler": "flow-euler",
}
_STOCHASTIC: Final = {"dpmpp-2m": "dpmpp-2m-sde"}  # what a sampler is where the file says algorithm_type "sde-..."


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The settings of a run that nobody chose. `sampler` is None where none here is what the checkpoint names.

    `guidance_interval` are the parts of the run, in [0, 1], between which guidance is on; `cache_interval` is how many
    calls there are from one of the whole denoiser to the next.
    """

    sampler: str | None
    scheduler_class: str  # diffusers' name, as the checkpoint has it
    steps: int = STEPS
    guidance: float = GUIDANCE
    guidance_interval: tuple[float, float] = field(default=ALL_OF_THE_RUN, metadata=LEFT_OUT)
    cache_interval: int = field(default=1, metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        """Refuse what no run could have; a sampler's name is looked at when it is asked for."""
        if self.steps < 1 or not abs(self.guidance) <= MOST_GUIDANCE:  # which is false for what is no number
            raise MezzotintError(
                f"the bundle's defaults are {self.steps} steps and a guidance of {self.guidance}, expected at least 1 "
                f"step and a guidance of at most {MOST_GUIDANCE:g}"
            )
        first, end = self.guidance_interval
        if not 0.0 <= first < end <= 1.0:
            raise MezzotintError(
                f"the bundle's guidance_interval is {first} to {end}, expected from 0 to 1, the first below the second"
            )
        if self.cache_interval < 1:
            raise MezzotintError(f"the bundle's cache_interval is {self.cache_interval}, expected at least 1")

    @classmethod
    def of_scheduler(cls, options: Mapping[str, object]) -> "Defaults":
        """Those that a scheduler_config.json stands for."""
        name = str(options.get("_class_name"))
        sampler = OF_CLASSES.get(name.removeprefix("Flax"))
        if str(options.get("algorithm_type")).startswith("sde-"):
            sampler = _STOCHASTIC.get(str(sampler))
        steps, guidance = _DISTILLED.get(str(sampler), (STEPS, GUIDANCE))
        return cls(sampler=sampler, scheduler_class=name, steps=steps, guidance=guidance)
