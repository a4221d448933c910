"""The second graph of a denoiser, which computes its outermost layers alone (DeepCache, Ma, Fang and Wang 2024).

The whole graph has one more output, what its inside says; the shallow graph reads that instead of computing it. Both
lie in one folder and read one file of weights. Where components are asked for by name, the shallow graph of `unet` is
called `unet.shallow`.
"""

from dataclasses import dataclass
from typing import Final

SHALLOW_FILE: Final = "shallow.onnx"
FEATURE: Final = "deep_feature"
"""The output of the whole graph and input of the shallow one: (rows, C, h, w), as many rows as there are texts."""

_SUFFIX = ".shallow"


@dataclass(frozen=True, kw_only=True)
class ShallowGraph:
    """`file` is one of its component's; `layers` of the way up are in it, a resnet and maybe a transformer each.

    `inputs` are those of the whole graph that it takes as well, and `feature` the last output of that one.
    """

    file: str
    layers: int
    inputs: tuple[str, ...]
    feature: str


def shallow_name(name: str) -> str:
    """What the shallow graph of component `name` is called."""
    return name + _SUFFIX


def whole_name(name: str) -> str:
    """The component that a graph of that name belongs to."""
    return name.removesuffix(_SUFFIX)
