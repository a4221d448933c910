"""Shallow graphs of a bundle, a line each, for `inspect`."""

from mezzotint.bundle.manifest import Manifest


def shallow_lines(manifest: Manifest) -> list[str]:
    """Of which component each is, and how much of it it computes."""
    found = [(name, one.shallow) for name, one in manifest.components.items() if one.shallow is not None]
    return [f"{name} has a shallow graph of its last {one.layers} layers, for --cache-interval" for name, one in found]
