"""The hash by which a bundle's manifest names the checkpoint that it was made from."""

import hashlib
from pathlib import Path

from .bundle import sha256_of

__all__ = ["weights_sha256"]

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".ckpt")


def weights_sha256(checkpoint: Path) -> str:
    """One SHA-256 over the weight files' names and contents, in the order of their names; `checkpoint` is a folder."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.glob("*/*")):
        if path.suffix in _WEIGHT_SUFFIXES:
            digest.update(f"{path.parent.name}/{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
