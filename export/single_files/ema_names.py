"""The averages of a training run's weights (EMA), which a file may hold beside the weights themselves.

The latent diffusion code keeps them under the weight's name without its dots, behind `model_ema.`: images are better
with them, and training goes on with the others.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from .place import Place

_MODEL, EMA_PREFIX = "model.", "model_ema."
BOOKKEEPING = ("model_ema.decay", "model_ema.num_updates")


def ema_key(key: str) -> str:
    """Where the average of the denoiser's weight `key` lies."""
    return EMA_PREFIX + key.removeprefix(_MODEL).replace(".", "")


def ema_places(places: Mapping[str, Place]) -> dict[str, Place]:
    """Those of the averages, from those of the weights themselves."""
    return {name: replace(place, key=ema_key(place.key)) for name, place in places.items()}


def has_ema(keys: Collection[str]) -> bool:
    """Whether a file holds averages of any weight."""
    return any(key.startswith(EMA_PREFIX) and key not in BOOKKEEPING for key in keys)
