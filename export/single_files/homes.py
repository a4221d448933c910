"""Where the parts of a checkpoint lie in a single file, and what a file of one part alone looks like."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from ..files.weight_names import fit_names
from .place import Naming, Place
from .text_names import clip_places, open_clip_places
from .unet_names import unet_places
from .vae_names import vae_places

DENOISER: Final = "model.diffusion_model."


@dataclass(frozen=True)
class Home:
    """A part may lie behind `prefix`; it does where the key `mark` is there. `naming` names its parameters.

    `is_averaged` says whether there may be averages of them as well.
    """

    prefix: str
    mark: str
    naming: Naming
    is_averaged: bool = False

    def is_in(self, keys: Collection[str]) -> bool:
        """Whether a file with these keys holds the part here."""
        return self.prefix + self.mark in keys

    def places(self, names: Collection[str], keys: Collection[str]) -> dict[str, Place]:
        """The place in the file of each parameter that this naming has a key for."""
        found = [key.removeprefix(self.prefix) for key in keys if key.startswith(self.prefix)]
        return {name: place.below(self.prefix) for name, place in self.naming(names, found).items()}


def own_places(names: Collection[str], found: Collection[str]) -> dict[str, Place]:
    """Of a file in diffusers' and transformers' own names, of whatever version; see `Naming`."""
    fitted = {new: old for old, new in fit_names(found, names).items()}
    return {name: Place(fitted.get(name, name)) for name in names}


_UNET, _OUR_UNET = "input_blocks.0.0.weight", "time_embedding.linear_1.weight"
_VAE, _OUR_VAE = "decoder.mid.block_1.norm1.weight", "decoder.mid_block.resnets.0.norm1.weight"
_CLIP = "embeddings.token_embedding.weight"
_OPEN_CLIP = "token_embedding.weight"


def _clips(prefix: str) -> tuple[Home, ...]:
    return tuple(Home(prefix, mark, clip_places) for mark in (f"text_model.{_CLIP}", _CLIP))


IN_CHECKPOINT: Final[Mapping[str, tuple[Home, ...]]] = {
    "unet": (Home(DENOISER, _UNET, unet_places, is_averaged=True),),
    "vae": (Home("first_stage_model.", _VAE, vae_places), Home("vae.", _VAE, vae_places)),
    "text_encoder": (
        *_clips("cond_stage_model.transformer."),
        Home("cond_stage_model.model.", _OPEN_CLIP, open_clip_places),
        *_clips("conditioner.embedders.0.transformer."),
    ),
    "text_encoder_2": (
        Home("conditioner.embedders.1.model.", _OPEN_CLIP, open_clip_places),
        Home("conditioner.embedders.0.model.", _OPEN_CLIP, open_clip_places),  # the refiner has this one alone
    ),
}
"""By the part's folder in a diffusers checkpoint: where it may lie in a file that holds all of them."""


@dataclass(frozen=True)
class Alone:
    """A file of one part is called `name`; `advice` is for those who give it for a whole checkpoint."""

    name: str
    advice: str
    homes: tuple[Home, ...]


_TEXT_ENCODER = "text encoder alone"
ALONE: Final[Mapping[str, Alone]] = {
    "unet": Alone(
        "UNet alone",
        "give it with --unet, and the checkpoint or folder that it belongs to as the model",
        (
            Home(DENOISER, _UNET, unet_places, is_averaged=True),
            Home("diffusion_model.", _UNET, unet_places),
            Home("", _UNET, unet_places),
            Home("unet.", _OUR_UNET, own_places),
            Home("", _OUR_UNET, own_places),
        ),
    ),
    "vae": Alone(
        "VAE alone",
        "give it with --vae, and a checkpoint as the model",
        (
            Home("first_stage_model.", _VAE, vae_places),
            Home("vae.", _VAE, vae_places),
            Home("", _VAE, vae_places),
            Home("vae.", _OUR_VAE, own_places),
            Home("", _OUR_VAE, own_places),
        ),
    ),
    "text_encoder": Alone(
        _TEXT_ENCODER,
        "give it with --text-encoder, and a checkpoint as the model",
        (*_clips(""), Home("", _OPEN_CLIP, open_clip_places), *IN_CHECKPOINT["text_encoder"]),
    ),
    "text_encoder_2": Alone(
        _TEXT_ENCODER,
        "give it with --text-encoder-2, and a checkpoint as the model",
        (*_clips(""), Home("", _OPEN_CLIP, open_clip_places), *IN_CHECKPOINT["text_encoder_2"]),
    ),
}
"""By the part's folder: a file of its own, and where it may lie in one."""
