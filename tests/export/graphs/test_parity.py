"""The check that every export ends in: it passes on true graphs, and finds one altered weight."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
import torch

from mezzotint.bundle.manifest import Component, Parity, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import CheckFailed, MezzotintError
from mezzotint.export import ParityError, export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.export import export_component
from mezzotint.export.families.stable_diffusion import graph_sources
from mezzotint.export.files.loaded_checkpoint import Checkpoint
from mezzotint.export.graphs.graph_source import ExampleSize, GraphSource, generator_of
from mezzotint.export.graphs.parity import PARITY_FLOOR_DB, check_parity, reference_outputs
from mezzotint.export.graphs.to_onnx import to_onnx
from mezzotint.runtime import Bundle


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_checkpoint))


def source_of(checkpoint: Checkpoint, name: str) -> GraphSource:
    return next(source for source in graph_sources(checkpoint) if source.name == name)


@contextmanager
def altered(parameter: torch.nn.Parameter, factor: float) -> Iterator[None]:
    """A weight is off by `factor` while inside."""
    kept = parameter.detach().clone()
    with torch.no_grad():
        parameter.mul_(factor)
    yield
    with torch.no_grad():
        parameter.copy_(kept)


def largest_parameter(source: GraphSource, part: str) -> torch.nn.Parameter:
    named = [(name, parameter) for name, parameter in source.module.named_parameters() if part in name]
    return max(named, key=lambda pair: pair[1].numel())[1]


def check(source: GraphSource, bundle: Bundle) -> Parity:
    name = source.name
    return check_parity(source, reference_outputs(source), bundle.graph_path(name), bundle.component(name))


@pytest.mark.parametrize("name", ["text_encoder", "unet", "vae_decoder", "vae_encoder"])
def test_true_graphs_are_far_above_the_floor(name: str, checkpoint: Checkpoint, tiny_bundle: Bundle) -> None:
    parity = check(source_of(checkpoint, name), tiny_bundle)
    assert parity == tiny_bundle.component(name).parity
    assert parity.against == "PyTorch FP32"
    assert parity.sqnr_db is not None
    assert 100.0 < parity.sqnr_db < 200.0


@pytest.mark.parametrize(
    ("name", "part"),
    [("text_encoder", "layers.0"), ("unet", "mid_block"), ("vae_decoder", "decoder.mid"), ("vae_encoder", "encoder.")],
)
def test_an_altered_weight_is_found(name: str, part: str, checkpoint: Checkpoint, tiny_bundle: Bundle) -> None:
    source = source_of(checkpoint, name)
    with altered(largest_parameter(source, part), 1.05), pytest.raises(ParityError) as error:
        check(source, tiny_bundle)
    message = str(error.value)
    assert message.startswith(f"{name}: ")
    got = float(message.partition(" to ")[2].partition(" dB")[0])
    assert 10.0 < got < PARITY_FLOOR_DB
    assert f"expected at least {PARITY_FLOOR_DB:.0f} dB" in message


class Gain(torch.nn.Module):
    """Multiplies latents by a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, 4, 1, 1), 3.0))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return latents * self.weight


@pytest.fixture(scope="module")
def gain(tmp_path_factory: pytest.TempPathFactory) -> tuple[GraphSource, Path]:
    """`Gain` and its graph."""

    def inputs(size: ExampleSize) -> tuple[torch.Tensor]:
        return (torch.randn((size.batch, 4, size.height, size.width), generator=generator_of(size)),)

    spec = TensorSpec(name="latents", dtype="float32", dims=("batch", 4, "height", "width"))
    source = GraphSource(
        name="gain",
        module=Gain(),
        inputs=(spec,),
        outputs=(replace(spec, name="out"),),
        example_inputs=inputs,
        trace_size=ExampleSize(2, 8, 6),
        parity_sizes=(),
        config={},
    )
    path = tmp_path_factory.mktemp("gain") / "model.onnx"
    ir.save(to_onnx(source), path)
    return source, path


# What an engine rounds differently is more on a large image: a difference of 70 dB there is no other graph.
@pytest.mark.parametrize(
    ("side", "factor", "passes"), [(64, 1 + 3e-4, False), (65, 1 + 3e-4, True), (65, 1 + 3e-3, False)]
)
def test_large_images_are_held_to_less(side: int, factor: float, passes: bool, gain: tuple[GraphSource, Path]) -> None:
    source, path = replace(gain[0], parity_sizes=(ExampleSize(1, side, 64),)), gain[1]
    component = Component(
        files=(), storage=Storage.FLOAT32, compute=Compute.F32, inputs=source.inputs, outputs=source.outputs
    )
    with altered(largest_parameter(source, "weight"), factor):
        expected = reference_outputs(source)
    if passes:
        assert check_parity(source, expected, path, component).sqnr_db == pytest.approx(70.5, abs=0.5)
    else:
        with pytest.raises(ParityError):
            check_parity(source, expected, path, component)


def test_two_sizes_two_batches_and_two_timesteps_are_checked(checkpoint: Checkpoint) -> None:
    for source in graph_sources(checkpoint):
        assert {size.batch for size in source.parity_sizes} == {1, 3}
    sizes = source_of(checkpoint, "unet").parity_sizes
    assert len({(size.height, size.width) for size in sizes}) == 2
    assert len({size.timestep for size in sizes}) == 2


def test_a_nan_is_no_agreement(checkpoint: Checkpoint, tiny_bundle: Bundle) -> None:
    source = source_of(checkpoint, "unet")
    with altered(largest_parameter(source, "conv_out"), float("nan")), pytest.raises(ParityError, match="-inf dB"):
        check(source, tiny_bundle)


@pytest.mark.usefixtures("traced_before")
def test_a_failed_check_leaves_nothing_behind(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = load_checkpoint(str(checkpoint.folder))  # its own: the export gives back the weights
    monkeypatch.setattr("mezzotint.export.export.load_parts", lambda *_arguments: spoiled)
    weight = largest_parameter(source_of(spoiled, "unet"), "mid_block")
    with torch.no_grad():
        weight.mul_(1.05)
    with pytest.raises(CheckFailed, match="unet") as error:
        export_checkpoint(str(checkpoint.folder), tmp_path / "bundle")
    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    source = source_of(checkpoint, "unet")
    weight = largest_parameter(source, "conv_out")
    with altered(weight, float("nan")), pytest.raises(MezzotintError, match=r"conv_out\.weight") as caught:
        export_component(source, tmp_path, is_needed=True)
    assert not isinstance(caught.value, ParityError)
    assert list(tmp_path.iterdir()) == []
    with altered(weight, 3e38), pytest.raises(MezzotintError, match="overflows"):
        export_component(source, tmp_path, is_needed=True)


def test_a_module_that_its_config_makes_unable_to_run_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    source = source_of(checkpoint, "unet")
    norms = [module for module in source.module.modules() if isinstance(module, torch.nn.GroupNorm)]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(MezzotintError, match=r"^unet.*config\.json.*TypeError"):
        patch.setattr(norms[0], "eps", [])  # as a config's `norm_eps: []` leaves it
        export_component(source, tmp_path, is_needed=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_want_of_memory_is_not_blamed_on_the_config(
    error: Exception, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(checkpoint, "unet")

    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(source.module, "forward", fail)
    with pytest.raises(MezzotintError, match="ran out of memory"):
        reference_outputs(source)
