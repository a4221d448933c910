"""The last part of a run that another bundle began, such as SDXL's refiner makes it.

base, refiner = TextToImage.load("sdxl"), Refine.load("sdxl-refiner")
image = refiner(base.hand_over("a red apple", at=0.8, steps=40)).images[0]
"""

from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from mezzotint.errors import MezzotintError

from .feature_cache import check_cache_interval
from .hand_over import HandOver, steps_before
from .live_adapters import told_scales
from .pipeline import Pipeline
from .result import OnStep, Result
from .samplers.sampler import Noise
from .samplers.schedule import Schedule
from .settings import Options, Settings, check_settings, seeds_of
from .start import Start


class Refine(Pipeline):
    """A loaded bundle. Make one with `load`; call it with what `TextToImage.hand_over` returned."""

    def __call__(self, begun: HandOver, *, on_step: OnStep | None = None, **options: Unpack[Options]) -> Result:
        """Finish the images that `begun` holds; prompts, steps, seeds and all else are those that they were begun with.

        `options` are other settings for this part; a target size is left out, which refiners are not told. Equal to
        diffusers' StableDiffusionXLImg2ImgPipeline with `denoising_start`. Raises MezzotintError for latents of
        another size or VAE.
        """
        settings = _continued(begun, options)
        check_settings(settings[0])
        self._check(begun)

        def begin(schedule: Schedule, _noise: Noise) -> Start:
            rest = schedule.tail(steps_before(schedule, begun.at))
            x = begun.latents * np.float32(rest.model_scale(float(rest.sigmas[0])))
            return Start(x, rest)

        return self._generate(settings, begin, on_step)

    def check(self, settings: Settings) -> None:
        """Refuse settings that a run is to begin with elsewhere, before it does; `settled` ones.

        Raises MezzotintError for live adapters that this bundle does not have, and a shallow graph that it lacks.
        """
        told_scales(self.bundle, [settings])
        check_cache_interval(self.bundle, self.sampling(settings).cache_interval)

    def _check(self, begun: HandOver) -> None:
        geometry = self.geometry
        if (begun.latents.shape[1], begun.scaling_factor) != (geometry.latent_channels, geometry.scaling_factor):
            raise MezzotintError(
                f"the latents have {begun.latents.shape[1]} channels and the scaling factor {begun.scaling_factor:g}, "
                f"and those of {self.bundle.path} {geometry.latent_channels} and {geometry.scaling_factor:g}: they are "
                "of another VAE; decode the image, and give it to ImageToImage"
            )
        if geometry.unet_channels != geometry.latent_channels:
            raise MezzotintError(f"{self.bundle.path} has a UNet that was made to inpaint; take a refiner")


def _continued(begun: HandOver, options: Options) -> list[Settings]:
    """The settings that the images were begun with, and `options` instead of them where there are some."""
    negative = options.get("negative_prompt")
    if not isinstance(negative, str | None):
        raise MezzotintError(what="negative_prompt", got=negative, expected="one text for all images, or None")
    seeds = seeds_of(options.get("seed", [one.seed for one in begun.settings]), len(begun.settings))
    told: dict[str, Any] = {"target_size": None, "negative_target_size": None, **options, "refined_from": begun.at}
    return [replace(one, **{**told, "seed": seed}) for seed, one in zip(seeds, begun.settings, strict=True)]
