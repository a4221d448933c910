"""Adapters into the weights of a checkpoint's modules, before they become graphs: exact for every form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.adapters.change import Change
from mezzotint.adapters.fit import Adapter, fit_adapter
from mezzotint.adapters.given import GivenAdapter
from mezzotint.adapters.module_names import Shapes
from mezzotint.bundle.manifest import FusedAdapter
from mezzotint.families.adapter_prefixes import ADAPTED
from mezzotint.families.family import Family


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Adapters that fit a checkpoint, each with its scale, in their order."""

    adapters: tuple[tuple[Adapter, float], ...] = ()

    @property
    def records(self) -> tuple[FusedAdapter, ...]:
        """What the manifest says of them."""
        return tuple(
            FusedAdapter(name=one.path.name, sha256=one.sha256, scale=scale, forms=one.forms)
            for one, scale in self.adapters
        )

    def merge_into(self, part: str, module: Any) -> Any:
        """The module of that part of the checkpoint, its weights changed; MezzotintError for numbers that are none."""
        parameters = dict(module.named_parameters())
        for adapter, scale in self.adapters:
            for target, change in adapter.changes.items():
                if target.part == part:
                    _merge(parameters, change, scale)
        return module


def adapted_parts(family: Family, adapters: Sequence[GivenAdapter]) -> tuple[str, ...]:
    """The folders whose weights adapters may change; none where there are no adapters."""
    return tuple(name for name in family.weighted_parts if name in ADAPTED) if adapters else ()


def fit_fusion(adapters: Sequence[GivenAdapter], shapes: Shapes, family: Family) -> Fusion:
    """The adapters on a checkpoint whose parameters have these shapes; MezzotintError as `fit_adapter`."""
    return Fusion(adapters=tuple((fit_adapter(one.path, shapes, family.name), one.scale) for one in adapters))


def _merge(parameters: Mapping[str, torch.nn.Parameter], change: Change, scale: float) -> None:
    if change.changes_weight:
        weight = parameters[change.target.weight]
        weight.data = torch.from_numpy(change.merged(weight.detach().numpy(), scale))
    if change.bias_kind is not None:
        bias = parameters[change.target.bias]
        bias.data = torch.from_numpy(change.merged_bias(bias.detach().numpy(), scale))
