"""A bundle as a server offers it: read from its manifest and configs, without loading a graph."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family, Role
from mezzotint.families.lineup import family_of
from mezzotint.runtime import Settings
from mezzotint.runtime.conditions import refuse_unknown_options
from mezzotint.runtime.denoising import Plan
from mezzotint.runtime.feature_cache import check_cache_interval
from mezzotint.runtime.guidance_options import refuse_guidance_options
from mezzotint.runtime.live_adapters import told_scales, without_networks
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.settings import check_settings
from mezzotint.runtime.start import rest_of
from mezzotint.runtime.text.of_bundle import tokenizers_of
from mezzotint.runtime.text.prompt_weights import parse_weights
from mezzotint.runtime.text.tokenizer import ClipTokenizer

_HASH_DIGITS = 10  # as AUTOMATIC1111's interface shows them


@dataclass(frozen=True)
class Model:
    """`name` is what requests call it: its folder's name, and of a profile the profile's after an @.

    `bundle` is then as the profile has it, and `folder` where the whole bundle lies.
    """

    name: str
    bundle: Bundle
    folder: Path
    profile: str | None = None

    @cached_property
    def family(self) -> Family:
        """What architecture it is of."""
        return family_of(self.bundle)

    @cached_property
    def geometry(self) -> Geometry:
        """Its sizes."""
        return self.family.geometry(self.bundle.config)

    @cached_property
    def scheduler(self) -> SchedulerConfig:
        """Its scheduler's config."""
        return SchedulerConfig.from_dict(self.bundle.config("scheduler/scheduler_config.json"))

    @property
    def short_hash(self) -> str:
        """The beginning of its source's SHA-256, which its images name as well."""
        return self.bundle.manifest.source.sha256[:_HASH_DIGITS]

    @property
    def title(self) -> str:
        """As AUTOMATIC1111's interface shows models."""
        return f"{self.name} [{self.short_hash}]"

    @property
    def file_bytes(self) -> int:
        """Of all its files, without those of profiles' graphs."""
        own = sum(entry.bytes for entry in self.bundle.own_files())
        components = self.bundle.manifest.components.values()
        return own + sum(entry.bytes for component in components for entry in component.files)

    @property
    def takes_images(self) -> bool:
        """Whether it can start from an image."""
        return self.family.name_of(Role.IMAGE_ENCODER) in self.bundle.manifest.components

    @property
    def is_for_inpainting(self) -> bool:
        """Whether its denoiser was made to inpaint, and does nothing else."""
        return self.geometry.unet_channels != self.geometry.latent_channels

    @cached_property
    def samplers(self) -> tuple[str, ...]:
        """Those that its scheduler's config lets run."""
        return tuple(sampler.name for sampler in SAMPLERS if self._runs(sampler.name))

    @cached_property
    def tokenizers(self) -> tuple[ClipTokenizer, ...]:
        """One of each of its text encoders."""
        return tuple(tokenizers_of(self.bundle, self.family).values())

    def sampling(self, settings: Settings) -> Sampling:
        """The sampler, steps and guidance that `settings` come to. Raises MezzotintError as `check` does."""
        return Sampling.settle(
            self.bundle.defaults(),
            settings.scheduler,
            settings.steps,
            settings.guidance,
            eta=settings.eta,
            spacing=settings.schedule,
            guidance_interval=settings.guidance_interval,
            cache_interval=settings.cache_interval,
        )

    def check(self, settings: tuple[Settings, ...]) -> Plan:
        """Refuse what the model could not generate, before anything is queued; the plan of what it can.

        Raises MezzotintError in the words that a call of the runtime would.
        """
        first = settings[0]
        check_settings(first)
        told_scales(self.bundle, settings)
        refuse_unknown_options(self.family, first)
        refuse_guidance_options(self.family, settings)
        for one in settings:
            _check_prompts(one)
        check_cache_interval(self.bundle, self.sampling(first).cache_interval)
        plan = Plan.of(settings, self.sampling(first), self.scheduler, self.geometry)
        if first.strength is not None:
            rest_of(plan.schedule, first.strength, keeps_steps=self.family.strength_keeps_steps)
        return plan

    def _runs(self, sampler: str) -> bool:
        try:
            Sampling.settle(self.bundle.defaults(), sampler, None, None).schedule(self.scheduler)
        except MezzotintError:
            return False
        return True


def _check_prompts(settings: Settings) -> None:
    if settings.prompt_syntax == "weighted":
        for text in (without_networks(settings).prompt, settings.negative_prompt or ""):
            parse_weights(text)
