"""What every case has to draw: prompts, seeds, steps, guidance, scheduler and size."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from mezzotint.errors import MezzotintError

__all__ = ["SCHEDULERS", "Workload", "find_scheduler", "scheduler_of"]

SCHEDULERS = (  # diffusers' class, the runtime's name
    ("DDIMScheduler", "ddim"),
    ("EulerDiscreteScheduler", "euler"),
    ("DPMSolverMultistepScheduler", "dpmpp-2m"),
)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Prompt i is drawn with the seed `seed + i`. Sizes are in pixels; None is the checkpoint's native size."""

    prompts: tuple[str, ...]
    seed: int = 1000
    steps: int = 25
    guidance: float = 5.0
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
    """`name`, when the baseline draws with it too; MezzotintError lists those that there are."""
    known = [scheduler for _, scheduler in SCHEDULERS]
    if name not in known:
        raise MezzotintError(f"the benchmark has no scheduler {name!r}; expected {', '.join(known)}")
    return name


def scheduler_of(checkpoint: Path) -> str:
    """The runtime's name for the checkpoint's scheduler, from scheduler/scheduler_config.json."""
    path = checkpoint / "scheduler" / "scheduler_config.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MezzotintError(f"{path} names no scheduler ({error!r}); expected a diffusers checkpoint folder") from None
    for class_name, scheduler in SCHEDULERS:
        if class_name == name:
            return scheduler
    known = ", ".join(scheduler for _, scheduler in SCHEDULERS)
    raise MezzotintError(
        f"{path} names {name}, which the benchmark does not draw with; pass --scheduler, one of {known}"
    )
