"""T2I-adapters of tiny checkpoints with random weights, and diffusers' pipelines told what they say."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import T2IAdapter, UNet2DConditionModel
from PIL import Image

from mezzotint.adapters.given_control import GivenControl
from mezzotint.bundle.control_record import ControlKind
from mezzotint.runtime import Control

# By name, for UNets of one and of two levels of 32 channels; a light one says one thing more than it has widths.
ADAPTERS: Final[Mapping[int, Mapping[str, Mapping[str, Any]]]] = {
    1: {"depth": {"channels": [32]}, "sketch": {"channels": [32], "in_channels": 1, "num_res_blocks": 1}},
    2: {
        "depth": {"channels": [32, 32]},
        "sketch": {"channels": [32], "adapter_type": "light_adapter", "in_channels": 1, "num_res_blocks": 1},
    },
}
_UNET: Final[dict[str, Any]] = {
    "sample_size": 8,
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
    "mid_block_type": "UNetMidBlock2D",
}


def save_checkpoint(folder: Path, tiny_checkpoint: Path, levels: int) -> Path:
    """The tiny checkpoint with another UNet."""
    shutil.copytree(tiny_checkpoint, folder)
    blocks: dict[str, Any] = {
        "block_out_channels": (32,) * levels,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")[:levels],
        "up_block_types": ("UpBlock2D",) * levels,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DConditionModel(**_UNET, **blocks).save_pretrained(folder / "unet")
    return folder


def save_adapter(folder: Path, seed: int = 0, **config: Any) -> Path:
    """A random one in `folder`; of RGB for the tiny VAE's factor unless `config` says another."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapter = T2IAdapter(**{"downscale_factor": 2, **config})
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.mul_(2.0)  # to be seen
    adapter.save_pretrained(folder)
    return folder


def given(paths: Mapping[str, Path]) -> list[GivenControl]:
    return [GivenControl(name=name, path=path, kind=ControlKind.T2I_ADAPTER) for name, path in paths.items()]


def seen_by(adapter: Any, control: Control) -> Image.Image:
    """As diffusers wants it: grey for an adapter of one channel."""
    assert isinstance(control.image, Image.Image)
    return control.image.convert("L") if adapter.config.in_channels == 1 else control.image


@contextmanager
def told(
    unet: Any, adapters: Sequence[Any], controls: Sequence[Control], size: tuple[int, int], steps: int
) -> Iterator[None]:
    """Within the block every call of diffusers' `unet` is told what the adapters say, in their steps of `steps`."""
    features = []
    for adapter, control in zip(adapters, controls, strict=True):
        image = seen_by(adapter, control).resize(size[::-1], Image.Resampling.LANCZOS)
        pixels = np.asarray(image, dtype=np.float32).reshape(1, *size, -1) / np.float32(255.0)
        with torch.no_grad():
            features.append(adapter(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
    plain, calls = unet.forward, iter(range(1000))

    def forward(sample: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        step, total = next(calls), list[torch.Tensor]()
        for control, said in zip(controls, features, strict=True):
            if step / steps >= control.start and (step + 1) / steps <= control.end:
                scaled = [control.scale * one.repeat(len(sample), 1, 1, 1) for one in said]
                total = [first + second for first, second in zip(total, scaled, strict=True)] if total else scaled
        return plain(sample, *arguments, **options, down_intrablock_additional_residuals=total or None)

    unet.forward = forward
    try:
        yield
    finally:
        unet.forward = plain
