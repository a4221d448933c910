"""`python -m demo.synthetic sd15 -o DIR`: a checkpoint of Stable Diffusion 1.5's shape, with seeded random weights.

It is for speed, memory and tests of the code. It generates nothing, and its fidelity figures say nothing of a trained
model, except that a quantizer which fails on it is not ready for one: random weights alone have no outliers, so those
that make Stable Diffusion hard are planted (see `demo/outliers.py`).
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from mezzotint.atomic_folder import replace_folder
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT

from .outliers import plant_in_text_encoder, plant_in_unet

_MARKER = "model_index.json"
_TOKENIZER = Path(__file__).parent / "checkpoint" / "tokenizer"
_Module = TypeVar("_Module", bound=torch.nn.Module)
_END_OF_TEXT = 4095  # of the embedded tokenizer, whose files every shape gets


@dataclass(frozen=True)
class Shape:
    """The sizes that decide how much there is to compute and to store."""

    latent_side: int
    unet_channels: tuple[int, ...]
    unet_layers: int
    attention_heads: int
    vae_channels: tuple[int, ...]
    vae_layers: int
    text_width: int
    text_layers: int
    text_heads: int
    tokens: int
    vocabulary: int
    groups: int


SHAPES: dict[str, Shape] = {
    "sd15": Shape(64, (320, 640, 1280, 1280), 2, 8, (128, 256, 512, 512), 2, 768, 12, 12, 77, 49408, 32),
    "tiny": Shape(8, (32, 64), 1, 4, (32, 32), 1, 64, 2, 4, 16, 4096, 8),
}


def write_checkpoint(shape: Shape, output: Path, *, seed: int = 0, plant: bool = True, overwrite: bool = False) -> None:
    """Write a diffusers folder at `output`; the same arguments and versions of torch give the same bytes.

    `plant=False` leaves the outliers out. Raises MezzotintError when `output` exists and `overwrite` is not set.
    """
    with replace_folder(output, marker=_MARKER, overwrite=overwrite) as staging:
        text_encoder = _seeded(lambda: _text_encoder(shape), seed)
        if plant:
            plant_in_text_encoder(text_encoder)
        text_encoder.save_pretrained(staging / "text_encoder")
        unet = _seeded(lambda: _unet(shape), seed + 1)
        if plant:
            plant_in_unet(unet, seed + 2)
        unet.save_pretrained(staging / "unet", max_shard_size="100GB")
        del text_encoder, unet
        _seeded(lambda: _vae(shape), seed + 3).save_pretrained(staging / "vae")
        _write_tokenizer(staging / "tokenizer", shape)
        _write_scheduler(staging / "scheduler")
        _write_json(staging / "model_index.json", _MODEL_INDEX)
        (staging / "README.md").write_text(_MODEL_CARD, encoding="utf-8")


def _seeded(make: Callable[[], _Module], seed: int) -> _Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def _text_encoder(shape: Shape) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.text_width,
        intermediate_size=4 * shape.text_width,
        projection_dim=shape.text_width,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        max_position_embeddings=shape.tokens,
        hidden_act="quick_gelu",
        bos_token_id=_END_OF_TEXT - 1,
        eos_token_id=_END_OF_TEXT,
        pad_token_id=_END_OF_TEXT,
    )
    return CLIPTextModel(config)


def _unet(shape: Shape) -> UNet2DConditionModel:
    levels = len(shape.unet_channels)
    return UNet2DConditionModel(
        sample_size=shape.latent_side,
        block_out_channels=shape.unet_channels,
        layers_per_block=shape.unet_layers,
        norm_num_groups=shape.groups,
        attention_head_dim=shape.attention_heads,
        cross_attention_dim=shape.text_width,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
    )


def _vae(shape: Shape) -> AutoencoderKL:
    levels = len(shape.vae_channels)
    return AutoencoderKL(
        block_out_channels=shape.vae_channels,
        layers_per_block=shape.vae_layers,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=shape.groups,
        latent_channels=4,
        sample_size=shape.latent_side * 2 ** (levels - 1),
        scaling_factor=0.18215,
    )


def _write_tokenizer(folder: Path, shape: Shape) -> None:
    shutil.copytree(_TOKENIZER, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    _write_json(path, {**config, "model_max_length": shape.tokens})


def _write_scheduler(folder: Path) -> None:
    folder.mkdir()
    _write_json(
        folder / "scheduler_config.json",
        {
            "_class_name": "PNDMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
            "steps_offset": 1,
            "clip_sample": False,
        },
    )


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


_MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

_MODEL_CARD = """# A synthetic checkpoint

Random weights in the shape of Stable Diffusion, with planted outliers. Its images are noise. Use it to measure
speed and memory; figures of fidelity on it test the code and say nothing of a trained model.
"""


def main() -> None:
    """The command line; exit code 2 with one sentence when the output is there already."""
    parser = argparse.ArgumentParser(prog="python -m demo.synthetic", description=__doc__)
    parser.add_argument("shape", choices=tuple(SHAPES))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-outliers", action="store_true", help="plain random weights")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    with exit_with_a_sentence():
        write_checkpoint(
            SHAPES[options.shape],
            options.output,
            seed=options.seed,
            plant=not options.no_outliers,
            overwrite=options.overwrite,
        )
    STDOUT.print(f"{options.output}: random weights in the shape {options.shape}", markup=False)


if __name__ == "__main__":
    main()
