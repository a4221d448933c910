"""The hash by which a bundle's manifest names the checkpoint that it was made from."""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from mezzotint.bundle.bundle import sha256_of

from .lineup import family_of_checkpoint
from .weight_files import choose_weights, local_names, weight_paths


def weights_sha256(checkpoint: Path, variant: str | None = None, without: Collection[str] = ()) -> str:
    """One SHA-256 over the names and contents of the weight files that an export reads, in the order of their names.

    `checkpoint` is a diffusers folder, `variant` what `--variant` chose, `without` the parts that were not read from
    it. Raises MezzotintError as `choose_weights`, and for a folder of no family.
    """
    digest = hashlib.sha256()
    family = family_of_checkpoint(checkpoint)
    chosen = choose_weights(family, str(checkpoint), local_names(family, checkpoint), variant, without)
    for path in sorted(path for weights in chosen.values() for path in weight_paths(checkpoint, weights)):
        digest.update(f"{path.parent.name}/{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def source_sha256(checkpoint: Path) -> str:
    """What the manifest of a bundle says of its source: the hash of a single file, or `weights_sha256` of a folder."""
    return sha256_of(checkpoint) if checkpoint.is_file() else weights_sha256(checkpoint)


def files_sha256(paths: Iterable[Path]) -> str:
    """The same over the weight files of one part by itself, whose folder may have any name."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
