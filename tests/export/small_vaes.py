"""VAEs of the smallest size with seeded random weights, as folders of diffusers: factor 2, four latent channels."""

import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["PUBLISHED_MSE", "save_halves", "save_kl", "save_tiny"]

# The keys of sd-vae-ft-mse as it was published: no scaling_factor. Only the sizes are others.
PUBLISHED_MSE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.4.2",
    "act_fn": "silu",
    "block_out_channels": [16, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}

_TINY: dict[str, Any] = {
    "encoder_block_out_channels": (16, 16),
    "decoder_block_out_channels": (16, 16),
    "num_encoder_blocks": (1, 2),
    "num_decoder_blocks": (2, 1),
}


def save_tiny(folder: Path, *, seed: int = 3, **sizes: Any) -> Path:
    """An AutoencoderTiny."""
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoencoderTiny(**{**_TINY, **sizes}).save_pretrained(folder)
    return folder


def save_kl(folder: Path, config: dict[str, Any] | None = None, *, seed: int = 4) -> Path:
    """An AutoencoderKL whose config.json has the keys of `config` and no others."""
    from diffusers import AutoencoderKL

    stated = config or PUBLISHED_MSE
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoencoderKL.from_config(stated).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


def save_halves(vae: Any, folder: Path, ending: str = ".pth", name: str = "taesd") -> Path:
    """Both halves of an AutoencoderTiny in the numbering of TAESD's first publication; the decoder's path."""
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    for half, first in (("encoder", 0), ("decoder", 1)):
        own = {key.removeprefix(f"{half}.layers."): tensor for key, tensor in vae.state_dict().items() if half in key}
        numbered: dict[str, torch.Tensor] = {}
        for key, tensor in own.items():
            number, _, rest = key.partition(".")
            numbered[f"{int(number) + first}.{rest}"] = tensor.clone()
        path = folder / f"{name}_{half}{ending}"
        if ending == ".safetensors":
            save_file(numbered, path)
        else:
            torch.save(numbered, path)
    return folder / f"{name}_decoder{ending}"
