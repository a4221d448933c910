"""ControlNet (Zhang, Rao and Agrawala 2023): a copy of a UNet's first half that sees an image beside the latents.

What it says is added to what the UNet's own first half says, and to its middle (residuals.py).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.manifest import Component

from .condition import Condition
from .feeds import fitted

IMAGE_INPUT: Final = "controlnet_cond"
"""The ControlNet's image: (B, 3, H, W) in [0, 1], in pixels of the image that is generated."""

_COMPONENT = "controlnet_"


def control_component(name: str) -> str:
    """What the ControlNet that calls know by `name` is called among a bundle's components."""
    return _COMPONENT + name


def control_feeds(
    sample: FloatArray, timestep: float, condition: Condition, image: FloatArray, component: Component
) -> dict[str, Array]:
    """A ControlNet's inputs for B rows of latents and condition, and one image (1, 3, H, W) in [0, 1] for all.

    Of the condition it is told what it has inputs for.
    """
    return control_call({"sample": sample, "timestep": np.asarray(timestep), **condition.arrays}, image, component)


def control_call(feeds: Mapping[str, Array], image: FloatArray, component: Component) -> dict[str, Array]:
    """A ControlNet's inputs beside a denoiser that is fed `feeds`, of B rows; `image` as in `control_feeds`."""
    known = {spec.name for spec in component.inputs}
    told = {name: array for name, array in feeds.items() if name in known}
    images = np.broadcast_to(image, (len(told["sample"]), *image.shape[1:]))
    return fitted({**told, IMAGE_INPUT: images}, component)
