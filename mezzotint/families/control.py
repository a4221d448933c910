"""What lets an image lead a denoiser, by what is added to what the denoiser's own first half says (residuals.py).

ControlNet (Zhang, Rao and Agrawala 2023) is a copy of a UNet's first half that sees the image beside the latents, in
every step. A T2I-adapter (Mou et al. 2023) is a small network that sees the image alone, once.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.control_record import AddedControl, ControlKind
from mezzotint.bundle.manifest import Component

from .condition import Condition
from .family import Role
from .feeds import fitted

IMAGE_INPUT: Final = "controlnet_cond"
"""The ControlNet's image: (B, 3, H, W) in [0, 1], in pixels of the image that is generated."""

ADAPTER_IMAGE_INPUT: Final = "image"
"""The T2I-adapter's image: (B, C, H, W) in [0, 1], in pixels of the image that is generated; C is 3, or 1 for grey."""

_ROLES: Mapping[ControlKind, Role] = {
    ControlKind.CONTROLNET: Role.CONTROL,
    ControlKind.T2I_ADAPTER: Role.T2I_ADAPTER,
}


def control_roles(controls: Sequence[AddedControl]) -> dict[str, Role]:
    """The role of each one's component."""
    return {one.component: _ROLES[one.kind] for one in controls}


def image_channels(component: Component) -> int:
    """How many channels the image of a ControlNet or a T2I-adapter has: 3, or 1 for grey."""
    (spec,) = (one for one in component.inputs if one.name in (IMAGE_INPUT, ADAPTER_IMAGE_INPUT))
    channels = spec.dims[1]
    assert isinstance(channels, int)
    return channels


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


def adapter_feeds(image: FloatArray, component: Component) -> dict[str, Array]:
    """A T2I-adapter's inputs: images (B, C, H, W) in [0, 1]."""
    return fitted({ADAPTER_IMAGE_INPUT: image}, component)
