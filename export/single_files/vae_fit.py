"""Whether the latents of one autoencoder are those of another, as far as their configs tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mezzotint.errors import MezzotintError

_LATENT_CHANNELS, _FACTOR = 4, 0.18215  # where an old config has no such key
_SPACES: Final[Mapping[float, str]] = {
    0.18215: "Stable Diffusion 1 and 2",
    0.13025: "Stable Diffusion XL",
    1.5305: "Stable Diffusion 3",
    0.3611: "Flux",
}
"""The latents that a scaling factor stands for; others are of a training of their own."""


def check_vae_fits(source: Path, new: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise MezzotintError where the autoencoder in the folder `source` cannot take the place of the model's own.

    `new` and `own` are their configs; an empty one says nothing. Latents of as many channels and the same size may
    still be other numbers: of that the published scaling factors tell.
    """
    if not own:
        return
    for what, value in (("latent_channels", _LATENT_CHANNELS), ("levels", 0)):
        got, expected = (_number(config, what, value) for config in (new, own))
        if got != expected and got:
            raise MezzotintError(
                f"{source} is a VAE of {got} {what.replace('_', ' ')}, expected {expected}, as the model's own has; "
                "its latents are others"
            )
    spaces = [_SPACES.get(config.get("scaling_factor", _FACTOR)) for config in (new, own)]
    if None not in spaces and spaces[0] != spaces[1]:
        raise MezzotintError(
            f"{source} is a VAE for {spaces[0]}, and the model is for the latents of {spaces[1]}; take a VAE of the "
            "model's own kind"
        )


def _number(config: Mapping[str, Any], what: str, absent: int) -> int:
    if what == "levels":
        return len(config.get("block_out_channels") or ())
    value = config.get(what, absent)
    return value if isinstance(value, int) else absent
