"""What a bundle was calibrated on and for: the record in its manifest."""

from dataclasses import dataclass, field

from mezzotint.errors import MezzotintError

from .records import LEFT_OUT

_LARGEST = 1 << 31  # of a count


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """The prompts, the schedule and size of the trajectories, and how much of them was looked at.

    `latent_shape` is (C, h, w); `calls` counts the UNet calls that statistics were taken from, `trajectories` the
    prompts that were run, each with `visits` steps at least (None: a bundle from before that was written down).
    `costs_sha256` is of the times that a search for exclusions went by, `schedule` the spacing of noise levels that was
    asked for, if any. `begun_with` says what the runs began with besides noise, and `refined_from` the part of the
    schedule, in (0, 1), that was done before, where the denoiser finishes what another one begins. `controlled_by`
    is what ControlNets and T2I-adapters saw, which some of the runs followed.
    """

    prompts_sha256: str
    prompts: int
    scheduler: str
    steps: int
    guidance: int | float
    latent_shape: tuple[int, int, int]
    calls: int
    seed: int
    trajectories: int | None = field(default=None, metadata=LEFT_OUT)
    visits: int | None = field(default=None, metadata=LEFT_OUT)
    split_shortcuts: bool = field(default=False, metadata=LEFT_OUT)
    int8_attention: bool = field(default=False, metadata=LEFT_OUT)
    costs_sha256: str | None = field(default=None, metadata=LEFT_OUT)
    schedule: str | None = field(default=None, metadata=LEFT_OUT)
    begun_with: str | None = field(default=None, metadata=LEFT_OUT)
    refined_from: float | None = field(default=None, metadata=LEFT_OUT)
    controlled_by: str | None = field(default=None, metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        """MezzotintError for figures that no calibration can have had."""
        counts = {"prompts": self.prompts, "steps": self.steps, "calls": self.calls}
        counts |= {f"latent_shape[{axis}]": size for axis, size in enumerate(self.latent_shape)}
        for name, count in counts.items():
            if not 1 <= count <= _LARGEST:
                raise MezzotintError(
                    f"calibration: {name} is {count!s:.40}, expected 1 to {_LARGEST}; make the bundle again"
                )
        if not 0.0 <= self.guidance <= _LARGEST:
            raise MezzotintError(
                f"calibration: guidance is {self.guidance!s:.40}, expected 0 to {_LARGEST}; make the bundle again"
            )
        if self.refined_from is not None and not 0.0 < self.refined_from < 1.0:
            raise MezzotintError(
                f"calibration: refined_from is {self.refined_from!s:.40}, expected between 0 and 1; make the bundle "
                "again"
            )
