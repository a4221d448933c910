"""The tables of single files of the published models, in their full size: shapes alone, without numbers."""

from functools import cache
from typing import Any

from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from mezzotint.export.single_files.templates import read_template
from tests.export.single_files.ldm import ldm_clip, ldm_unet, ldm_vae, open_clip

Shapes = dict[str, tuple[int, ...]]


@cache
def published_shapes(name: str) -> Shapes:
    """What the file of the model `name` has, by key."""
    template = read_template(name)
    with init_empty_weights():
        state = ldm_unet(_diffusers(UNet2DConditionModel, template, "unet"))
        state |= ldm_vae(_diffusers(AutoencoderKL, template, "vae"))
        if "sdxl" in name or name == "ssd-1b":
            second = CLIPTextModelWithProjection(_text(template, "text_encoder_2"))
            number = 0 if name == "sdxl-refiner" else 1
            state |= open_clip(second, f"conditioner.embedders.{number}.model.")
            if number:
                first = CLIPTextModel(_text(template, "text_encoder"))
                state |= ldm_clip(first, "conditioner.embedders.0.transformer.")
        elif name.startswith("sd2"):
            encoder = CLIPTextModel(_text(template, "text_encoder"))
            state |= open_clip(encoder, "cond_stage_model.model.", extra_layer=True)
        else:
            state |= ldm_clip(CLIPTextModel(_text(template, "text_encoder")))
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _diffusers(kind: Any, template: dict[str, Any], part: str) -> Any:
    return kind.from_config(template[f"{part}/config.json"])


def _text(template: dict[str, Any], part: str) -> Any:
    return CLIPTextConfig.from_dict(template[f"{part}/config.json"])
