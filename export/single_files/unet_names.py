"""The UNet's parameters in single files, which have the names of the latent diffusion code."""

from collections.abc import Collection

from mezzotint.families.unet_keys import unet_keys

from .place import Place


def unet_places(names: Collection[str], _found: Collection[str] = ()) -> dict[str, Place]:
    """The place of each parameter of a UNet2DConditionModel, by its name there; see `Naming`."""
    return {name: Place(key) for name, key in unet_keys(names).items()}
