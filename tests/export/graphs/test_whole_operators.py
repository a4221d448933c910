"""Programs that torch.onnx takes as they are: the same graph as after decomposing, which takes as long as tracing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch.export import ExportedProgram

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.families.lineup import export_of
from mezzotint.export.graphs.graph_source import ExampleSize, GraphSource, generator_of
from mezzotint.export.graphs.to_onnx import to_onnx

SPEC = TensorSpec(name="latents", dtype="float32", dims=("batch", 4, "height", "width"))


class Ordinary(torch.nn.Module):
    """What denoisers and VAEs consist of, with a conversion to another type and one to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.norm = torch.nn.GroupNorm(2, 8)
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        left, right = torch.nn.functional.silu(self.norm(self.conv(latents))).float().chunk(2, dim=1)
        product = left * torch.nn.functional.gelu(right)
        turned = self.linear(product.permute(0, 2, 3, 1)).to(torch.float64).exp().to(torch.float32).flatten()
        whole = turned.reshape(product.shape)
        return torch.nn.functional.interpolate(whole + latents, scale_factor=2.0, mode="nearest")


class InPlace(torch.nn.Module):
    """It writes into a tensor that it made, as CLIP does into its mask."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        doubled = latents * 2
        doubled.masked_fill_(doubled > 1, -1.0)
        return doubled + latents


class Unlisted(torch.nn.Module):
    """An operator that only decomposing gives a translation."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(latents, latents + 1, reduction="none")


def source_of(module: torch.nn.Module) -> GraphSource:
    def inputs(size: ExampleSize) -> tuple[torch.Tensor]:
        return (torch.randn((size.batch, 4, size.height, size.width), generator=generator_of(size)),)

    dims = ("batch", 4, "2*height", "2*width") if isinstance(module, Ordinary) else SPEC.dims
    return GraphSource(
        name="small",
        module=module.eval(),
        inputs=(SPEC,),
        outputs=(replace(SPEC, name="out", dims=dims),),
        example_inputs=inputs,
        trace_size=ExampleSize(2, 8, 6),
        parity_sizes=(),
        config={},
    )


@pytest.fixture
def decomposed(monkeypatch: pytest.MonkeyPatch) -> list[ExportedProgram]:
    """The programs that are decomposed from here on."""
    seen: list[ExportedProgram] = []
    real: Callable[..., ExportedProgram] = ExportedProgram.run_decompositions

    def note(program: ExportedProgram, *given: Any, **named: Any) -> ExportedProgram:
        seen.append(program)
        return real(program, *given, **named)

    monkeypatch.setattr(ExportedProgram, "run_decompositions", note)
    return seen


def answers(model: ir.Model, source: GraphSource, folder: Path) -> tuple[Array, Array]:
    """ONNX Runtime's and PyTorch's, at a size that was not traced."""
    import onnxruntime

    ir.save(model, folder / "model.onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    (latents,) = source.example_inputs(ExampleSize(3, 5, 7))
    with torch.no_grad():
        expected = source.module(latents).numpy()
    return session.run(None, {"latents": latents.numpy()})[0], expected


def test_whole_operators_give_the_graph_that_decomposing_gives(
    monkeypatch: pytest.MonkeyPatch, decomposed: list[ExportedProgram], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = source_of(Ordinary())
    whole = to_onnx(source)
    assert decomposed == []
    monkeypatch.setattr("mezzotint.export.graphs.to_onnx.keep_whole", lambda _program: None)
    other = to_onnx(source)
    assert len(decomposed) == 1
    assert [node.op_type for node in whole.graph] == [node.op_type for node in other.graph]
    weights, other_weights = ({name for name in one.graph.initializers if "." in name} for one in (whole, other))
    assert weights == other_weights
    (found, expected), (found_other, _) = (answers(model, source, tmp_path) for model in (whole, other))
    np.testing.assert_array_equal(found, found_other)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("module", [InPlace, Unlisted])
def test_what_is_not_whole_is_decomposed(
    module: type[torch.nn.Module], decomposed: list[ExportedProgram], tmp_path: Path
) -> None:
    source = source_of(module())
    found, expected = answers(to_onnx(source), source, tmp_path)
    assert len(decomposed) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_the_embedded_denoiser_and_vae_are_whole(demo_checkpoint: Path, decomposed: list[ExportedProgram]) -> None:
    """Or an export takes almost twice as long."""
    checkpoint = load_checkpoint(str(demo_checkpoint))
    for source in export_of(checkpoint.family).sources(checkpoint):
        if source.name != "text_encoder":
            to_onnx(source)
    assert decomposed == []
