"""ControlNets of the tiny checkpoint: copies of its UNet's first half whose added layers are random, and not zeros."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image

from mezzotint.adapters.given_control import GivenControl
from mezzotint.export import export_checkpoint
from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.export.graphs.to_onnx import to_onnx
from mezzotint.runtime import Bundle
from tests.conftest import MakeOnce
from tests.export.tracing import fingerprint, weighted

NAMES = ("edges", "depth")
_GRAPH = "graph.onnx"
_ONE_LEVEL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32,),
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
    "down_block_types": ("CrossAttnDownBlock2D",),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("UpBlock2D",),
}


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """A checkpoint and two ControlNets of it, by name; `make_once` exports their bundle when it is first asked for."""

    make_once: MakeOnce
    checkpoint: Path
    nets: Mapping[str, Path]

    @property
    def bundle(self) -> Bundle:
        """FP32, with both. Not to be written to."""
        given = [GivenControl(name=name, path=path) for name, path in self.nets.items()]

        def make(folder: Path) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("mezzotint.export.export.to_onnx", _tracing_one(self.make_once))
                export_checkpoint(str(self.checkpoint), folder, controls=given)

        return Bundle.open(self.make_once(f"controlled-fp32-{self.checkpoint.name}", make))


def controlled(make_once: MakeOnce, tiny_checkpoint: Path, *, levels: int = 1) -> Controlled:
    """Of the tiny checkpoint, which has two levels; with one its UNet is another, which is traced in half the time."""

    def make(folder: Path) -> None:
        checkpoint = folder / f"levels-{levels}"
        shutil.copytree(tiny_checkpoint, checkpoint)
        if levels == 1:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                UNet2DConditionModel(**_ONE_LEVEL).save_pretrained(checkpoint / "unet")
        for seed, name in enumerate(NAMES):
            save_control_net(checkpoint, folder / name, seed)

    folder = make_once(f"controlled-{levels}", make)
    nets = {name: folder / name for name in NAMES}
    return Controlled(make_once=make_once, checkpoint=folder / f"levels-{levels}", nets=nets)


def _tracing_one(make_once: MakeOnce) -> Callable[[GraphSource], ir.Model]:
    """What is traced elsewhere is not traced again, nor the second net, which is the first one with other weights."""

    def graph_of(source: GraphSource) -> ir.Model:
        first = replace(source, name=source.name.replace(NAMES[1], NAMES[0]))

        def trace(folder: Path) -> None:
            folder.mkdir()
            ir.save(to_onnx(first), folder / _GRAPH)

        return weighted(ir.load(make_once(f"graph-{fingerprint(first)}", trace) / _GRAPH), source)

    return graph_of


def save_control_net(checkpoint: Path, folder: Path, seed: int, **config: Any) -> Path:
    """One for the UNet of `checkpoint`, in `folder`; `config` stands over what the UNet's own says."""
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16))
        if config:
            net = ControlNetModel.from_config({**net.config, **config})
        with torch.no_grad():
            for parameter in net.parameters():
                if not parameter.any():  # zero-initialized, as training begins
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
    net.save_pretrained(folder)
    return folder


def drawing(height: int, width: int, seed: int = 0) -> Image.Image:
    """White lines on black, as edges are."""
    lines = np.zeros((height, width, 3), dtype=np.uint8)
    generator = np.random.default_rng(seed)
    lines[generator.integers(0, height, 3)] = 255
    lines[:, generator.integers(0, width, 3)] = 255
    return Image.fromarray(lines)
