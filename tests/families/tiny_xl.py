"""Stable Diffusion XL's kinds of checkpoint with the smallest nets, and diffusers' pipelines on them as the oracle."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from mezzotint.arrays import Array
from tests.runtime.scheduler_oracle import ORACLES

__all__ = ["KINDS", "PROMPT", "RUN", "DiffusersXL", "image_and_mask", "save_second_tokenizer", "save_tiny_xl"]

PROMPT: Final = "a flat emoji of a red apple"
RUN: Final[dict[str, Any]] = {"steps": 4, "seed": 3}
KINDS: Final = ("base", "refiner", "inpaint", "pruned", "lcm")
_WINDOW, _POOLED, _WIDTHS, _EACH, _SCALE_WIDTH = 32, 40, (32, 64), 8, 32
_SCHEDULER: Final = {  # as SDXL was published
    "_class_name": "EulerDiscreteScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
_LCM_SCHEDULER: Final = {
    "_class_name": "LCMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "original_inference_steps": 50,
    "prediction_type": "epsilon",
    "set_alpha_to_one": True,
    "timestep_spacing": "leading",
}


def save_tiny_xl(folder: Path, demo_checkpoint: Path, kind: str = "base") -> Path:
    """Write a checkpoint folder of one of `KINDS`, with seeded random weights: 32x32 pixels, 32 tokens."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    has_first = kind != "refiner"
    if has_first:
        _seeded(lambda: CLIPTextModel(_text_config(_WIDTHS[0]))).save_pretrained(folder / "text_encoder")
    _seeded(lambda: CLIPTextModelWithProjection(_text_config(_WIDTHS[1]))).save_pretrained(folder / "text_encoder_2")
    _seeded(lambda: _unet(kind)).save_pretrained(folder / "unet")
    _seeded(_vae).save_pretrained(folder / "vae")
    if has_first:
        shutil.copytree(demo_checkpoint / "tokenizer", folder / "tokenizer")
    save_second_tokenizer(folder / "tokenizer_2", demo_checkpoint / "tokenizer")
    _write(folder / "scheduler" / "scheduler_config.json", _LCM_SCHEDULER if kind == "lcm" else _SCHEDULER)
    _write(folder / "model_index.json", _index(kind))
    return folder


def _seeded(make: Callable[[], Any]) -> Any:
    """Each part alone, so that the kinds share the parts that do not differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=32,  # as in tests/export/published.py, so that one tracing serves both
        scaling_factor=0.13025,
        sample_size=32,
    )


def _text_config(width: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=4096,
        max_position_embeddings=_WINDOW,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=_POOLED,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_act="gelu",
        bos_token_id=0,
        eos_token_id=2,  # as published: transformers then pools at the highest id
        pad_token_id=1,
    )


def _unet(kind: str) -> Any:
    from diffusers import UNet2DConditionModel

    is_refiner, is_pruned = kind == "refiner", kind == "pruned"
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=9 if kind == "inpaint" else 4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=(2, 4),
        cross_attention_dim=_WIDTHS[1] if is_refiner else sum(_WIDTHS),
        use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2D" if is_pruned else "UNetMidBlock2DCrossAttn",
        transformer_layers_per_block=1 if is_refiner else [1, 2],  # a refiner's file has one number
        reverse_transformer_layers_per_block=[[1, 1], 1] if is_pruned else None,
        addition_embed_type="text_time",
        addition_time_embed_dim=_EACH,
        time_cond_proj_dim=_SCALE_WIDTH if kind == "lcm" else None,
        projection_class_embeddings_input_dim=(5 if is_refiner else 6) * _EACH + _POOLED,
    )
    with torch.no_grad():  # random nets hardly listen
        for name, weight in unet.named_parameters():
            if ".attn2.to_v" in name or ".attn2.to_out" in name or name.startswith("add_embedding"):
                weight.mul_(6.0)
            if name == "time_embedding.cond_proj.weight":
                weight.mul_(30.0)
    return unet


def save_second_tokenizer(folder: Path, source: Path) -> None:
    """The same words, padded with "!"."""
    shutil.copytree(source, folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        _write(path, {**json.loads(path.read_text(encoding="utf-8")), "pad_token": "!"})


def _index(kind: str) -> dict[str, Any]:
    names = {"refiner": "StableDiffusionXLImg2ImgPipeline", "inpaint": "StableDiffusionXLInpaintPipeline"}
    clip, none = ["transformers", "CLIPTokenizer"], [None, None]
    first = {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": clip}
    options = {"refiner": {"requires_aesthetics_score": True}, "inpaint": {"requires_aesthetics_score": False}}
    return {
        "_class_name": names.get(kind, "StableDiffusionXLPipeline"),
        "_diffusers_version": "0.19.0.dev0",
        "add_watermarker": None,
        "force_zeros_for_empty_prompt": kind != "refiner",
        **options.get(kind, {}),
        **({"text_encoder": none, "tokenizer": none} if kind == "refiner" else first),
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": clip,
        "scheduler": ["diffusers", "LCMScheduler" if kind == "lcm" else "EulerDiscreteScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def image_and_mask(height: int = 32, width: int = 32) -> tuple[Image.Image, Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    white = np.zeros((height, width), dtype=np.uint8)
    white[:, width // 2 :] = 255
    return Image.fromarray(pixels), Image.fromarray(white)


class DiffusersXL:
    """diffusers' pipelines on one checkpoint, with some of its `exchanged` for others.

    Every call returns pixels (B, H, W, 3) in [0, 1].
    """

    def __init__(self, checkpoint: Path, **exchanged: Any) -> None:
        import diffusers

        index = json.loads((checkpoint / "model_index.json").read_text(encoding="utf-8"))
        own = getattr(diffusers, index["_class_name"]).from_pretrained(checkpoint, add_watermarker=False, **exchanged)
        zeros = {"force_zeros_for_empty_prompt": index["force_zeros_for_empty_prompt"], "add_watermarker": False}
        scored = {"requires_aesthetics_score": index.get("requires_aesthetics_score", False)}
        parts = {
            name: part for name, part in own.components.items() if name not in ("image_encoder", "feature_extractor")
        }
        self._scheduler = own.scheduler.config
        self._pipes: dict[str, Any] = {
            "text": diffusers.StableDiffusionXLPipeline(**parts, **zeros),
            "image": diffusers.StableDiffusionXLImg2ImgPipeline(**parts, **zeros, **scored),
            "inpaint": diffusers.StableDiffusionXLInpaintPipeline(**parts, **zeros, **scored),
        }
        for pipe in self._pipes.values():
            pipe.set_progress_bar_config(disable=True)

    def text(self, prompt: str | Sequence[str], **options: Any) -> Array:
        return self._generate("text", prompt, **options)

    def image(self, prompt: str, image: Any, **options: Any) -> Array:
        return self._generate("image", prompt, image=image, **options)

    def inpaint(self, prompt: str, image: Any, mask: Any, **options: Any) -> Array:
        size = {"height": image.height, "width": image.width}
        return self._generate("inpaint", prompt, image=image, mask_image=mask, **{**size, **options})

    def _generate(
        self,
        kind: str,
        prompt: str | Sequence[str],
        *,
        scheduler: str = "euler",
        steps: int,
        guidance: float = 5.0,
        seed: int,
        output_type: str = "np",
        spacing: str = "leading",
        **options: Any,
    ) -> Array:
        pipe = self._pipes[kind]
        pipe.scheduler = ORACLES[scheduler].from_config({**self._scheduler, "timestep_spacing": spacing})
        count = 1 if isinstance(prompt, str) else len(prompt)
        generators = [torch.Generator().manual_seed(seed + index) for index in range(count)]
        generated = pipe(
            prompt,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators[0] if count == 1 else generators,
            output_type=output_type,
            **options,
        ).images
        pixels: Array = generated if output_type == "np" else generated.numpy()
        return pixels
