"""What the component configs of a Stable Diffusion XL checkpoint may say, and whether they belong together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of_checkpoint

from .autoencoder_tiny import is_tiny
from .guidance_scale import check_width
from .option_values import ANY, Values
from .stable_diffusion_configs import effective_config
from .stable_diffusion_options import (
    FOLDERS,
    TEXT_OPTIONS,
    UNET_OPTIONS,
    VAE_OPTIONS,
    check_count,
    check_latents,
    check_options,
    read_stated,
)

_TIMES_AND_TEXT: Final = "text_time"
_OPTIONS: Final[Mapping[str, Mapping[str, Values | None]]] = {
    "text_encoder": TEXT_OPTIONS,
    "text_encoder_2": TEXT_OPTIONS,
    "unet": {**UNET_OPTIONS, "addition_embed_type": (_TIMES_AND_TEXT,), "time_cond_proj_dim": ANY},
}
_VAE_OPTIONS: Final[Mapping[str, Values | None]] = {  # a small autoencoder's are Stable Diffusion's
    **VAE_OPTIONS,
    "latents_mean": ANY,  # Geometry checks both
    "latents_std": ANY,
}
_COUNTS: Final = (6, 5)  # of numbers that the UNet hears; a refiner's are the fewer


def check_xl_components(folder: Path) -> None:
    """Check the configs of a diffusers folder before any weight is read.

    Raises MezzotintError for the first key that this family does not understand, and for parts of different models.
    """
    parts = family_of_checkpoint(folder).weighted_parts
    _effective({name: read_stated(folder / name / "config.json") for name in parts})


def adopt_xl_configs(stated: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The effective configs of a bundle's components, from what those of a folder from elsewhere state.

    Raises MezzotintError as `check_xl_components`.
    """
    return _effective(stated)


def effective_xl_config(name: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """A component's whole config, by its folder in the checkpoint, from what its config.json states."""
    if name != "text_encoder_2":
        return effective_config(name, stated)
    return effective_config("text_encoder", stated) | {"architectures": ["CLIPTextModelWithProjection"]}


def _effective(stated: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    whole = {}
    for name, config in stated.items():
        folder = FOLDERS.get(name, name)
        is_normalized = folder == "vae" and not is_tiny(config)
        check_options(folder, config, _VAE_OPTIONS if is_normalized else _OPTIONS.get(folder))
        whole[name] = effective_xl_config(folder, config)
    _check_fit(whole, whole["vae" if "vae" in whole else "vae_decoder"])
    return whole


def _check_fit(configs: Mapping[str, Mapping[str, Any]], vae: Mapping[str, Any]) -> None:
    unet = configs["unet"]
    check_latents(unet, vae)
    if unet["addition_embed_type"] != _TIMES_AND_TEXT:
        raise MezzotintError(
            f"unet/config.json has addition_embed_type = {unet['addition_embed_type']!r:.40}, expected "
            f"{_TIMES_AND_TEXT!r}, as every Stable Diffusion XL has; take the config.json that belongs to the weights"
        )
    if unet["time_cond_proj_dim"] is not None:
        check_width(unet, "leave it away, or null, where the UNet is not told the scale")
    for name in ("text_encoder", "text_encoder_2"):
        if name in configs:
            check_count(name, "hidden_size", configs[name])
    check_count("text_encoder_2", "projection_dim", configs["text_encoder_2"])
    widths = {name: configs[name]["hidden_size"] for name in ("text_encoder", "text_encoder_2") if name in configs}
    if unet["cross_attention_dim"] != sum(widths.values()):
        listed = " + ".join(f"{width} of {name}" for name, width in widths.items())
        raise MezzotintError(
            f"unet/config.json has cross_attention_dim = {unet['cross_attention_dim']!r:.40}, expected {listed}, the "
            "text encoders' hidden_size"
        )
    _check_embedding(unet, configs["text_encoder_2"]["projection_dim"])


def _check_embedding(unet: Mapping[str, Any], pooled: Any) -> None:
    """The vector of the whole text, and each number in so many channels, make up the width of what is added."""
    each, width = unet["addition_time_embed_dim"], unet["projection_class_embeddings_input_dim"]
    try:
        possible = [count * each + pooled for count in _COUNTS]
    except TypeError:
        possible = []
    if width not in possible:
        raise MezzotintError(
            f"unet/config.json has projection_class_embeddings_input_dim = {width!r:.40} and addition_time_embed_dim = "
            f"{each!r:.40}, expected text_encoder_2's projection_dim of {pooled!r:.40} and {_COUNTS[0]} numbers of the "
            f"latter, or {_COUNTS[1]} in a refiner"
        )


def count_of_numbers(unet: Mapping[str, Any], text_encoder_2: Mapping[str, Any]) -> int:
    """How many numbers the UNet hears of an image, by effective configs that fit."""
    pooled = text_encoder_2["projection_dim"]
    return int((unet["projection_class_embeddings_input_dim"] - pooled) // unet["addition_time_embed_dim"])
