"""The check that every export ends in: it passes on true graphs, and finds one altered weight."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mezzotint.bundle.manifest import Parity
from mezzotint.errors import CheckFailed
from mezzotint.export import ParityError, export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.families.stable_diffusion import graph_sources
from mezzotint.export.files.loaded_checkpoint import Checkpoint
from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.export.graphs.parity import PARITY_FLOOR_DB, check_parity, reference_outputs
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
