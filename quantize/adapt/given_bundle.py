"""The bundle that adapters are for, and the FP32 bundle that it was made from, where it is none itself."""

from dataclasses import dataclass
from pathlib import Path

from mezzotint.adapters.module_names import Shapes
from mezzotint.bundle.bundle import Bundle
from mezzotint.errors import MezzotintError
from mezzotint.families.adapter_prefixes import ADAPTED

from ..graphs.graph_file import load_graph
from .parameters import parameter_shapes

_FLOATS = "fp32"


@dataclass(frozen=True)
class GivenBundle:
    """`floats` is `bundle` itself where that is FP32."""

    bundle: Bundle
    floats: Bundle

    @classmethod
    def open(cls, path: Path, base: Path | None) -> "GivenBundle":
        """MezzotintError where `bundle` needs a base and has none, or one that it was not made from."""
        bundle = Bundle.open(path)
        if bundle.manifest.recipe == _FLOATS:
            if base is not None:
                raise MezzotintError(f"{path} is fp32 and needs no --base; leave it away")
            return cls(bundle, bundle)
        if base is None:
            raise MezzotintError(
                f"{path} is {bundle.manifest.recipe}; pass the FP32 bundle that it was quantized from with --base"
            )
        floats = Bundle.open(base)
        if floats.manifest.recipe != _FLOATS:
            raise MezzotintError(f"--base {base} is {floats.manifest.recipe}, expected the FP32 bundle")
        for what in ("family", "source", "replaced", "fused", "words", "controls"):
            if getattr(floats.manifest, what) != getattr(bundle.manifest, what):
                raise MezzotintError(
                    f"--base {base} is not what {path} was quantized from, their manifests differ in {what}; pass "
                    "that one"
                )
        return cls(bundle, floats)

    @property
    def is_float(self) -> bool:
        """Whether it is FP32 itself."""
        return self.bundle.manifest.recipe == _FLOATS

    def shapes(self) -> Shapes:
        """Of all parameters that adapters may change, as PyTorch has them."""
        names = [name for name in self.floats.manifest.components if name in ADAPTED]
        return {name: parameter_shapes(load_graph(self.floats.graph_path(name)).graph) for name in names}
