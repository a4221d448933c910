"""The contract of export: a `GraphSource` is a PyTorch module with the graph inputs and outputs it must have.

Names, order and dtypes of inputs and outputs are those of Optimum's exporter, at every precision. Dims that are
strings are dynamic; one symbol is one size in a call. `example_inputs` makes seeded inputs of a given size, for tracing
and for the parity check alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.bundle.manifest import TensorSpec


@dataclass(frozen=True)
class ExampleSize:
    """Size of example inputs: batch, latent height and width (pixels are latents times the VAE factor), timestep."""

    batch: int
    height: int
    width: int
    timestep: float = 500.0


@dataclass(frozen=True)
class GraphSource:
    """One component to export. `config` becomes config.json beside the graph."""

    name: str
    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example_inputs: Callable[[ExampleSize], tuple[torch.Tensor, ...]]
    trace_size: ExampleSize
    parity_sizes: tuple[ExampleSize, ...]
    config: Mapping[str, Any]


def generator_of(size: ExampleSize) -> torch.Generator:
    """The seeded source of example inputs of that size."""
    return torch.Generator().manual_seed(size.batch * 1009 + size.height * 31 + size.width)
