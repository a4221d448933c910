"""Sizes of a checkpoint, from its configs: nothing of SD 1.5's 8, 4 and 512 is assumed."""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mezzotint.errors import MezzotintError

_MAX_SIDE_PIXELS = 4096
_OLD_SCALING_FACTOR = 0.18215  # of every VAE before its config had a place for it, at the end of 2022


@dataclass(frozen=True)
class Geometry:
    """Latent channels, the VAE's factor between pixels and latents, the native side in pixels, and latent scaling.

    `channel_means` and `channel_deviations` are of the VAE's latents where it is normalized by channel, one of each for
    every latent channel; the shift is not used then.
    """

    latent_channels: int
    vae_factor: int
    native_side_pixels: int
    scaling_factor: float
    shift_factor: float
    unet_channels: int = 4  # 9 where the UNet also takes a mask and a masked image, to inpaint
    channel_means: tuple[float, ...] = ()
    channel_deviations: tuple[float, ...] = ()

    @classmethod
    def from_configs(cls, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> "Geometry":
        """Read the UNet's and the VAE's config.json; MezzotintError names a key that is missing or malformed.

        Bundles of version 0.1 hold the configs as the checkpoint had them: an absent scaling factor is 0.18215, as in
        diffusers' AutoencoderKL.
        """
        try:
            factor = 1 << (len(vae["block_out_channels"]) - 1)
            geometry = cls(
                latent_channels=int(vae["latent_channels"]),
                vae_factor=factor,
                native_side_pixels=int(unet["sample_size"]) * factor,
                scaling_factor=float(vae.get("scaling_factor", _OLD_SCALING_FACTOR)),
                shift_factor=float(vae.get("shift_factor") or 0.0),
                channel_means=_numbers(vae.get("latents_mean")),
                channel_deviations=_numbers(vae.get("latents_std")),
                unet_channels=int(unet.get("in_channels") or vae["latent_channels"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise MezzotintError(
                f"the UNet's or VAE's config.json is unusable ({error!r}); make the bundle again"
            ) from None
        if not geometry._is_possible():
            raise MezzotintError(f"the UNet's or VAE's config.json gives {geometry}; make the bundle again")
        return geometry

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(channels, h, w) for an image size in pixels; None is the native size."""
        return (
            self.latent_channels,
            self._latent_side("height", height),
            self._latent_side("width", width),
        )

    def _is_possible(self) -> bool:
        counts = (self.latent_channels, self.native_side_pixels, self.unet_channels)
        numbers = (self.shift_factor, *self.channel_means)
        scales = (self.scaling_factor, *self.channel_deviations)
        return (
            min(counts) >= 1
            and all(math.isfinite(number) for number in numbers)
            and all(0.0 < scale < math.inf for scale in scales)
            and len(self.channel_means) == len(self.channel_deviations)
            and len(self.channel_means) in (0, self.latent_channels)
        )

    def _latent_side(self, name: str, pixels: int | None) -> int:
        factor = self.vae_factor
        try:
            pixels = self.native_side_pixels if pixels is None else operator.index(pixels)
        except TypeError:
            raise MezzotintError(f"{name} is {pixels!r:.40}, expected a whole number of pixels") from None
        if not factor <= pixels <= _MAX_SIDE_PIXELS or pixels % factor:
            raise MezzotintError(
                f"{name} is {pixels}, expected a multiple of {factor} from {factor} to {_MAX_SIDE_PIXELS}"
            )
        return pixels // factor


def _numbers(stated: object) -> tuple[float, ...]:
    """A list of numbers, none of them where it is null."""
    if stated is None:
        return ()
    if not isinstance(stated, list | tuple):
        raise TypeError(f"{stated!r:.40} is no list of numbers")
    return tuple(float(number) for number in stated)
