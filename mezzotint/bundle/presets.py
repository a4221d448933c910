"""What distilled checkpoints are to run with, which no file of theirs says: few steps, and no guidance.

A fine-tune that was distilled to few steps has the keys and shapes of what it was made from. Settings are those of the
papers and of the published schedulers: Turbo (Sauer et al. 2023), Lightning (Lin et al. 2024), Hyper-SD (Ren et al.
2024), latent consistency (Luo et al. 2023).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mezzotint.errors import MezzotintError

_SD, _XL = "stable-diffusion", "stable-diffusion-xl"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """`scheduler` are entries of scheduler_config.json, by family: a model of another one has no such checkpoints."""

    steps: int
    guidance: float = 0.0
    scheduler: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def entries(self, name: str, family: str) -> Mapping[str, Any]:
        """Those for a family; MezzotintError where the preset, whose name is `name`, does not fit it."""
        if family not in self.scheduler:
            raise MezzotintError(
                f"the preset {name} is for checkpoints of {' and '.join(self.scheduler)}, and this one is of {family}; "
                "leave it away, or say --scheduler, --steps and --guidance"
            )
        return self.scheduler[family]


def _from_the_end(scheduler: str, **more: Any) -> Mapping[str, Any]:
    """Steps that begin at the last timestep: few of them would otherwise never see pure noise."""
    return {"_class_name": scheduler, "timestep_spacing": "trailing", **more}


_EULER, _ANCESTRAL = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"
_HYPER = _from_the_end("DDIMScheduler")
_LCM: Mapping[str, Any] = {"_class_name": "LCMScheduler", "original_inference_steps": 50}

PRESETS: Final[Mapping[str, Preset]] = {
    "turbo": Preset(steps=1, scheduler={_SD: _from_the_end(_EULER), _XL: _from_the_end(_ANCESTRAL)}),
    "lightning-1": Preset(steps=1, scheduler={_XL: _from_the_end(_EULER, prediction_type="sample")}),
    **{f"lightning-{steps}": Preset(steps=steps, scheduler={_XL: _from_the_end(_EULER)}) for steps in (2, 4, 8)},
    **{f"hyper-{steps}": Preset(steps=steps, scheduler={_SD: _HYPER, _XL: _HYPER}) for steps in (2, 4, 8)},
    "lcm": Preset(steps=4, guidance=1.0, scheduler={_SD: _LCM, _XL: _LCM}),
}


def find_preset(name: str) -> Preset:
    """The preset of that name; MezzotintError lists those that there are."""
    if name not in PRESETS:
        raise MezzotintError(what="preset", got=name, expected=PRESETS)
    return PRESETS[name]
