"""ControlNets of the tiny checkpoint: copies of its UNet's first half whose added layers are random, and not zeros."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image

from mezzotint.adapters.control_net import GivenControlNet
from mezzotint.export import export_checkpoint
from mezzotint.export.export import to_onnx
from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.runtime import Bundle
from tests.conftest import MakeOnce
from tests.export.tracing import fingerprint, with_weights

NAMES = ("edges", "depth")
_GRAPH = "graph.onnx"


def control_nets(make_once: MakeOnce, checkpoint: Path) -> dict[str, Path]:
    """Two of them, saved by name."""

    def make(folder: Path) -> None:
        for seed, name in enumerate(NAMES):
            save_control_net(checkpoint, folder / name, seed)

    folder = make_once("tiny-control-nets", make)
    return {name: folder / name for name in NAMES}


def controlled_bundle(make_once: MakeOnce, checkpoint: Path) -> Bundle:
    """The FP32 bundle of the checkpoint with both. Not to be written to."""
    nets = control_nets(make_once, checkpoint)
    given = [GivenControlNet(name=name, path=path) for name, path in nets.items()]

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mezzotint.export.export.to_onnx", _tracing_one(make_once))
            export_checkpoint(str(checkpoint), folder, control_nets=given)

    return Bundle.open(make_once("tiny-controlled-fp32", make))


def _tracing_one(make_once: MakeOnce) -> Callable[[GraphSource], ir.Model]:
    """What is traced elsewhere is not traced again, nor the second net, which is the first one with other weights."""
    first: list[Path] = []

    def graph_of(source: GraphSource) -> ir.Model:
        def trace(folder: Path) -> None:
            folder.mkdir()
            ir.save(to_onnx(source), folder / _GRAPH)

        if source.name.endswith(NAMES[1]):
            return with_weights(ir.load(first[0] / _GRAPH), source)
        folder = make_once(f"graph-{fingerprint(source)}", trace)
        if source.name.endswith(NAMES[0]):
            first.append(folder)
        return ir.load(folder / _GRAPH)

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
