"""Turns an FP32 bundle into an FP16 or INT8 one for a target, and checks what that cost.

The contract is mezzotint/bundle/decisions.py: decisions know no target; a lowering turns them into a graph for one
engine. What is named here is imported when it is first used: the command line lists recipes where no ONNX is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapt.embeddings import add_embeddings
    from .adapt.fuse import fuse_adapters
    from .adapt.live import add_live_adapters
    from .calibrate.trajectories import CalibrationSettings
    from .quantize import quantize_bundle
    from .verify.audit import Audit, audit_bundle, check_coverage

__all__ = [
    "Audit",
    "CalibrationSettings",
    "add_embeddings",
    "add_live_adapters",
    "audit_bundle",
    "check_coverage",
    "fuse_adapters",
    "quantize_bundle",
]

_HOMES = {
    "Audit": ".verify.audit",
    "CalibrationSettings": ".calibrate.trajectories",
    "add_embeddings": ".adapt.embeddings",
    "add_live_adapters": ".adapt.live",
    "audit_bundle": ".verify.audit",
    "check_coverage": ".verify.audit",
    "fuse_adapters": ".adapt.fuse",
    "quantize_bundle": ".quantize",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
