"""The graphs beside a denoiser's own that skip its inside in some calls (DeepCache, Ma, Fang and Wang 2024).

The *deep* graph is the whole once more and says, as its last output, what its inside says; the *shallow* graph has the
outermost layers alone, and reads that. The denoiser's own graph says nothing new, so that it computes what it did. All
lie in one folder and read one file of weights. Where components are asked for by name, those beside `unet` are called
`unet.deep` and `unet.shallow`.
"""

from typing import Final

DEEP_FILE: Final = "deep.onnx"
SHALLOW_FILE: Final = "shallow.onnx"
FEATURE: Final = "deep_feature"
"""The output of the deep graph and input of the shallow one: (rows, C, h, w), as many rows as there are texts."""

_DEEP, _SHALLOW = ".deep", ".shallow"


def deep_name(component: str) -> str:
    """What the deep graph of a component is called."""
    return component + _DEEP


def shallow_name(component: str) -> str:
    """What its shallow graph is called."""
    return component + _SHALLOW


def component_of(name: str) -> str:
    """The component that a graph of that name belongs to; its own graph has its name."""
    return name.removesuffix(_DEEP).removesuffix(_SHALLOW)
