"""The hash by which a bundle's manifest names the checkpoint that it was made from."""

import hashlib
from pathlib import Path

from .bundle import sha256_of
from .weight_files import choose_weights, local_names, weight_paths

__all__ = ["weights_sha256"]


def weights_sha256(checkpoint: Path, variant: str | None = None) -> str:
    """One SHA-256 over the names and contents of the weight files that an export reads, in the order of their names.

    `checkpoint` is a diffusers folder, `variant` what `--variant` chose. Raises MezzotintError as `choose_weights`.
    """
    digest = hashlib.sha256()
    chosen = choose_weights(str(checkpoint), local_names(checkpoint), variant)
    for path in sorted(path for weights in chosen.values() for path in weight_paths(checkpoint, weights)):
        digest.update(f"{path.parent.name}/{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
