"""What every case has to generate: prompts, seeds, steps, guidance, scheduler and size."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.defaults import GUIDANCE, STEPS, Defaults
from mezzotint.errors import MezzotintError

# diffusers' class, the runtime's name. Those that add noise take it from torch's generator on both sides.
SCHEDULERS = (
    ("DDIMScheduler", "ddim"),
    ("PNDMScheduler", "pndm"),
    ("LMSDiscreteScheduler", "lms"),
    ("EulerDiscreteScheduler", "euler"),
    ("HeunDiscreteScheduler", "heun"),
    ("DPMSolverMultistepScheduler", "dpmpp-2m"),
    ("DPMSolverSinglestepScheduler", "dpmpp-2s"),
    ("UniPCMultistepScheduler", "unipc"),
    ("DEISMultistepScheduler", "deis"),
    ("EulerAncestralDiscreteScheduler", "euler-ancestral"),
    ("LCMScheduler", "lcm"),
)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Prompt i is generated with the seed `seed + i`. Sizes are in pixels; None is the checkpoint's native size."""

    prompts: tuple[str, ...]
    seed: int = 1000
    steps: int = STEPS
    guidance: float = GUIDANCE
    scheduler: str = "ddim"
    height: int | None = None
    width: int | None = None

    def seed_of(self, index: int) -> int:
        """The seed of prompt `index`."""
        return self.seed + index

    @property
    def prompts_sha256(self) -> str:
        """SHA-256 of the prompts, one a line: that of the prompt file where it has no blank lines."""
        return hashlib.sha256("".join(f"{prompt}\n" for prompt in self.prompts).encode()).hexdigest()


def find_scheduler(name: str) -> str:
    """`name`, when the baseline generates with it too; MezzotintError lists those that there are."""
    known = [scheduler for _, scheduler in SCHEDULERS]
    if name not in known:
        raise MezzotintError(f"the benchmark has no scheduler {name!r}; expected {', '.join(known)}")
    return name


def defaults_of(bundle: Path, scheduler: str | None) -> Defaults:
    """What the bundle is meant to run with; with `scheduler` if given.

    MezzotintError where the baseline does not generate with it too.
    """
    own = Bundle.open(bundle).defaults()
    if scheduler is not None:
        return replace(own, sampler=find_scheduler(scheduler))
    known = [runtime_name for _, runtime_name in SCHEDULERS]
    if own.sampler not in known:
        raise MezzotintError(
            f"{bundle} is to run with {own.sampler or own.scheduler_class}, which the benchmark does not; pass "
            f"--scheduler, one of {', '.join(known)}"
        )
    return own
