"""What trainers of adapters write before a module's path, for each part of a checkpoint that they change."""

from collections.abc import Mapping
from typing import Final

DENOISERS: Final[Mapping[str, tuple[str, ...]]] = {
    "unet": ("lora_unet_", "unet_", "lycoris_unet_", "lycoris_", "diffusion_model_", "model_diffusion_model_", ""),
}
"""By folder, with dots written as underscores; the last of a denoiser is none at all."""

TEXT_ENCODERS: Final[Mapping[str, tuple[str, ...]]] = {
    "text_encoder": ("lora_te_", "lora_te1_", "text_encoder_", "lycoris_text_encoder_"),
    "text_encoder_2": ("lora_te2_", "text_encoder_2_", "lycoris_text_encoder_2_"),
}

ADAPTED: Final = frozenset({*DENOISERS, *TEXT_ENCODERS})
"""The parts that adapters change: no VAE is among them."""

EMBEDDING_KEYS: Final[Mapping[str, str]] = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
"""What files of textual inversion call the vectors of each text encoder, where they have some for two."""
