"""norm(x) * (1 + s), which OpenVINO cannot compile, is the same sum in another order, and runs on every engine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.lineup import installed_engines
from mezzotint.engines.session import Session
from mezzotint.export.graphs.graph_source import ExampleSize, GraphSource, generator_of
from mezzotint.export.graphs.to_onnx import to_onnx

SPECS = (
    TensorSpec("latents", "float32", ("batch", 16, "height", "width")),
    TensorSpec("embedding", "float32", ("batch", 32)),
)


class Modulated(torch.nn.Module):
    """As ResnetBlock2D with `time_embedding_norm="scale_shift"`; with `is_kept`, something else reads the norm too."""

    def __init__(self, *, is_kept: bool) -> None:
        super().__init__()
        self.norm = torch.nn.GroupNorm(4, 16)
        self.is_kept = is_kept

    def forward(self, latents: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = embedding[:, :, None, None].chunk(2, dim=1)
        normed = self.norm(latents)
        out = torch.nn.functional.silu(normed * (1 + scale) + shift)
        return out + normed if self.is_kept else out


def source_of(module: torch.nn.Module) -> GraphSource:
    def inputs(size: ExampleSize) -> tuple[torch.Tensor, torch.Tensor]:
        generator = generator_of(size)
        latents = torch.randn((size.batch, 16, size.height, size.width), generator=generator)
        return latents, torch.randn((size.batch, 32), generator=generator)

    return GraphSource(
        name="small",
        module=module.eval(),
        inputs=SPECS,
        outputs=(replace(SPECS[0], name="out"),),
        example_inputs=inputs,
        trace_size=ExampleSize(2, 8, 6),
        parity_sizes=(),
        config={},
    )


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("engine", installed_engines(), ids=lambda engine: engine.name)
def test_every_engine_gives_pytorchs_answer(engine: Engine, is_kept: bool, tmp_path: Path) -> None:
    source = source_of(Modulated(is_kept=is_kept))
    model = to_onnx(source)
    ir.save(model, tmp_path / "model.onnx")
    component = Component((), Storage.FLOAT32, Compute.F32, SPECS, source.outputs)
    session = Session.open("small", tmp_path / "model.onnx", component, engine, EngineOptions(Compute.F32))
    for size in (ExampleSize(2, 16, 16), ExampleSize(1, 5, 7)):
        inputs = source.example_inputs(size)
        with torch.no_grad():
            expected = source.module(*inputs).numpy()
        feeds = {spec.name: value.numpy() for spec, value in zip(SPECS, inputs, strict=True)}
        np.testing.assert_allclose(session.run(feeds)["out"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_norm_is_multiplied_by_the_offset_and_added(is_kept: bool) -> None:
    graph = to_onnx(source_of(Modulated(is_kept=is_kept))).graph
    (norm,) = [node for node in graph if "Norm" in node.op_type]
    assert sorted(use.node.op_type for use in norm.outputs[0].uses()) == ["Add"] * (2 if is_kept else 1) + ["Mul"]
    assert not [node for node in graph for value in node.inputs if value is not None and _is_one(value)]


def _is_one(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.size == 1 and bool(value.const_value.numpy() == 1.0)
