"""Factors of low rank beside the layers of a network (Hu et al. 2021), and the file that they end up in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mezzotint.atomic_file import atomic_path

_PREFIX = "unet."  # of diffusers' names: the part of the pipeline that the module belongs to


class LowRank(nn.Module):
    """A frozen layer y = W x with B (A x) beside it; B begins as zero, so that nothing changes at first.

    The file states no alpha, which stands for the rank: the change at scale 1 is BA.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        if isinstance(base, nn.Linear):
            self.down: nn.Module = nn.Linear(base.in_features, rank, bias=False)
            self.up: nn.Module = nn.Linear(rank, base.out_features, bias=False)
        else:
            shape: dict[str, Any] = {"stride": base.stride, "padding": base.padding, "dilation": base.dilation}
            self.down = nn.Conv2d(base.in_channels, rank, base.kernel_size, bias=False, **shape)  # type: ignore[arg-type]
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        with torch.no_grad():
            down = self.down.weight
            assert isinstance(down, torch.Tensor)
            down.normal_(0.0, down[0].numel() ** -0.5, generator=generator)
            self.up.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output with the change."""
        changed: torch.Tensor = self.base(x) + self.up(self.down(x))
        return changed


def add_low_rank(network: nn.Module, modules: Sequence[str], rank: int, seed: int) -> dict[str, LowRank]:
    """Freeze the network, and put factors beside each layer whose name ends in one of `modules`; they by name.

    ValueError for an end that no layer has.
    """
    network.requires_grad_(requires_grad=False)
    ends = tuple(f".{end}" for end in modules)
    chosen = {
        name: one
        for name, one in network.named_modules()
        if isinstance(one, nn.Linear | nn.Conv2d) and f".{name}".endswith(ends)
    }
    idle = [end for end in ends if not any(f".{name}".endswith(end) for name in chosen)]
    if idle:
        raise ValueError(f"no layer's name ends in {', '.join(idle)}")
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, LowRank] = {}
    for name, base in chosen.items():
        parent, _, last = name.rpartition(".")
        layers[name] = LowRank(base, rank, generator)
        network.get_submodule(parent).register_module(last, layers[name])
    return layers


def factors_of(layers: Mapping[str, LowRank]) -> dict[str, nn.Parameter]:
    """Their weights under diffusers' names."""
    factors: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        for letter, factor in (("A", layer.down), ("B", layer.up)):
            assert isinstance(factor.weight, nn.Parameter)
            factors[f"{_PREFIX}{name}.lora_{letter}.weight"] = factor.weight
    return factors


def write_adapter(path: Path, factors: Mapping[str, torch.Tensor]) -> None:
    """A safetensors file in FP16, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {name: factor.detach().half().contiguous() for name, factor in factors.items()}
    with atomic_path(path) as partial:
        save_file(halves, partial, {"format": "pt"})
