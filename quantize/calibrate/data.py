"""What the graphs of a bundle are given while images are generated: the data that a quantization is decided on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.families.family import Guidance, Role
from mezzotint.families.lineup import family_of
from mezzotint.runtime import Bundle
from mezzotint.runtime.denoiser import guide

from .beginning import FROM_NOISE, Beginning
from .followed import SOURCE, components_of, control_key
from .text_calls import token_calls
from .trajectories import (
    CalibrationSettings,
    Call,
    Trajectory,
    control_calls,
    decoder_calls,
    denoiser_calls,
    told_calls,
)


@dataclass(frozen=True, eq=False)
class CalibrationData:
    """Prompts, the settings that they were run with, and their trajectories; none where there are no prompts.

    Nothing is run or written here: calls are taken from what is there, the same ones for the same seed.
    """

    bundle: Bundle
    prompts: tuple[str, ...]
    settings: CalibrationSettings
    trajectories: tuple[Trajectory, ...]
    beginning: Beginning = FROM_NOISE

    def calls(self, component: str, count: int, seed: int) -> list[Call]:
        """`count` seeded calls of a component; none of an image encoder, and of others without trajectories.

        Of a denoiser, whose calls weigh the most, none comes twice: there are fewer where fewer were made.
        """
        family = family_of(self.bundle)
        match family.role(component):
            case Role.TEXT_ENCODER:
                return token_calls(self.bundle, component, self.prompts, count)
            case Role.DENOISER if self.trajectories:
                calls = denoiser_calls(self.trajectories, min(count, self._calls_made), seed)
                return told_calls(self.bundle, calls)
            case Role.CONTROL if self.trajectories:
                return self._control_calls(component, count, seed)
            case Role.T2I_ADAPTER if self.trajectories:
                return self._adapter_calls(component, count, seed)
            case Role.IMAGE_DECODER if self.trajectories:
                geometry = family.geometry(self.bundle.config)
                return decoder_calls(self.trajectories, self.bundle.component(component), geometry, count, seed)
            case _:
                return []

    def _control_calls(self, component: str, count: int, seed: int) -> list[Call]:
        """In the runs that follow it or, where none does, in all."""
        runs = self._led_by(component)
        made = sum(len(one.calls) for one in runs)
        return control_calls(self.bundle, component, denoiser_calls(runs, min(count, made), seed))

    def _adapter_calls(self, component: str, count: int, seed: int) -> list[Call]:
        """One of each run that follows it or, where none does, of all; again where there are fewer."""
        runs = self._led_by(component)
        order = np.random.default_rng(seed).permutation(len(runs))
        chosen = [runs[order[index % len(order)]] for index in range(count)]
        calls = [Call(0, one.calls[0].feeds, one.followed) for one in chosen]
        return control_calls(self.bundle, component, calls)

    def _led_by(self, component: str) -> Sequence[Trajectory]:
        own = [one for one in self.trajectories if component in components_of(self.bundle, one.followed)]
        return own or self.trajectories

    def guided(self, component: str, output: Array) -> Array:
        """What becomes of a component's `output` (B, ...): of a denoiser that was run with guidance, (B / 2, ...)."""
        family, guidance = family_of(self.bundle), self.settings.guidance
        is_guided = family.guidance is Guidance.CFG and guidance > 1.0
        if family.role(component) is not Role.DENOISER or not is_guided:
            return output
        negative, positive = np.split(output, 2)
        return guide(negative, positive, guidance)

    @property
    def prompts_sha256(self) -> str:
        """Hash of the prompts in their order."""
        return hashlib.sha256("\n".join(self.prompts).encode()).hexdigest()

    def record(self, *, splits_shortcuts: bool) -> CalibrationRecord:
        """What the manifest says of it."""
        settings = self.settings
        channels, height, width = self.trajectories[0].final.shape[1:]
        return CalibrationRecord(
            prompts_sha256=self.prompts_sha256,
            prompts=len(self.prompts),
            scheduler=settings.scheduler,
            steps=settings.steps,
            guidance=settings.guidance,
            latent_shape=(channels, height, width),
            calls=min(settings.calls, self._calls_made),
            seed=settings.seed,
            trajectories=len(self.trajectories),
            visits=settings.visits,
            split_shortcuts=splits_shortcuts,
            schedule=settings.schedule,
            begun_with=self.beginning.source,
            refined_from=self.beginning.at or None,
            controlled_by=SOURCE if self.bundle.manifest.controls else None,
        )

    @property
    def _calls_made(self) -> int:
        """Of the denoiser, in all trajectories."""
        return sum(len(trajectory.calls) for trajectory in self.trajectories)

    @property
    def key(self) -> dict[str, object]:
        """What a cache has to tell one from another by, besides the bundle's graphs."""
        return {
            "prompts": self.prompts_sha256,
            "settings": self.settings,
            **self.beginning.key,
            **control_key(self.bundle),
        }
