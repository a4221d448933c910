"""Exported graphs agree with PyTorch at sizes and batches that they were not traced at, on both engines."""

from functools import cache
from pathlib import Path

import pytest
import torch

from mezzotint.bundle.precision import Compute
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.session import Session
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.families.stable_diffusion import graph_sources
from mezzotint.export.graphs.graph_source import ExampleSize, GraphSource
from mezzotint.runtime import Bundle

# Latent sides; the UNet halves them once (tiny) or twice (demo).
TINY_SIZES = (
    ExampleSize(1, 8, 8, timestep=0.0),
    ExampleSize(2, 5, 11, timestep=999.0),
    ExampleSize(3, 7, 4, timestep=1.0),
    ExampleSize(1, 16, 6, timestep=333.3),
    ExampleSize(2, 2, 3),
)
DEMO_SIZES = (ExampleSize(1, 16, 16), ExampleSize(2, 18, 22), ExampleSize(3, 13, 7), ExampleSize(1, 17, 15))
BACKENDS = ("openvino", "onnxruntime")


@cache
def sources(checkpoint: Path) -> dict[str, GraphSource]:
    return {source.name: source for source in graph_sources(load_checkpoint(str(checkpoint)))}


def session(bundle: Bundle, name: str, backend: str) -> Session:
    engine = next(engine for engine in ENGINES if engine.name == backend)
    return Session.open(name, bundle.graph_path(name), bundle.component(name), engine, EngineOptions(Compute.F32))


def agreement_db(source: GraphSource, session: Session, size: ExampleSize) -> float:
    """The graph against the module; shapes must be equal too."""
    arguments = source.example_inputs(size)
    with torch.inference_mode():
        expected = source.module(*arguments)
    outputs = session.run({spec.name: value.numpy() for spec, value in zip(source.inputs, arguments, strict=True)})
    pairs = zip(expected if isinstance(expected, tuple) else (expected,), outputs.values(), strict=True)
    return min(sqnr_db(reference.numpy(), output) for reference, output in pairs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["unet", "vae_decoder", "vae_encoder"])
def test_tiny_graphs_agree_at_any_size(name: str, backend: str, tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    pytest.importorskip(backend)
    opened = session(tiny_bundle, name, backend)
    for size in TINY_SIZES:
        got = agreement_db(sources(tiny_checkpoint)[name], opened, size)
        assert got > 90.0, size


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tokens", [32, 5, 2])
def test_the_text_encoder_agrees_at_any_length(
    tokens: int, backend: str, tiny_bundle: Bundle, tiny_checkpoint: Path
) -> None:
    pytest.importorskip(backend)
    size = ExampleSize(2, tokens, 1)
    got = agreement_db(sources(tiny_checkpoint)["text_encoder"], session(tiny_bundle, "text_encoder", backend), size)
    assert got > 90.0


def test_a_unet_of_three_levels_agrees_at_sides_that_are_no_multiples_of_four(
    demo_bundle: Bundle, demo_checkpoint: Path
) -> None:
    opened = session(demo_bundle, "unet", "onnxruntime")
    for size in DEMO_SIZES:
        got = agreement_db(sources(demo_checkpoint)["unet"], opened, size)
        assert got > 90.0, size
