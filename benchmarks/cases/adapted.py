"""A benchmark with an adapter: in the weights of the reference, and in those of every bundle or live beside them."""

from collections.abc import Sequence
from dataclasses import replace

from mezzotint.adapters.given import GivenAdapter
from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.errors import MezzotintError

from .case import Reading


def adapted(reading: Reading, adapter: GivenAdapter, bundles: Sequence[str]) -> Reading:
    """The reading with the adapter in it.

    MezzotintError for a bundle that has other adapters than this one, at this scale, or none: its row would compare two
    models.
    """
    sha256 = sha256_of(adapter.path)
    for bundle in bundles:
        manifest = Bundle.open(bundle).manifest
        fused = [(one.sha256, one.scale) for one in manifest.fused]
        is_live = any(one.sha256 == sha256 for one in manifest.live)
        if fused != ([] if is_live else [(sha256, adapter.scale)]):
            raise MezzotintError(
                where=bundle,
                what="the adapters in its weights and live",
                got=", ".join([*(one.name for one in manifest.fused), *(one.name for one in manifest.live)]) or "none",
                expected=f"{adapter.path.name} at scale {adapter.scale:g}, or live",
                advice=f"add it with `mezzotint lora {bundle} {adapter.path}:{adapter.scale:g}`",
            )
    return replace(reading, adapter=str(adapter.path), adapter_sha256=sha256, adapter_scale=adapter.scale)


def adapter_alone(reading: Reading) -> Reading:
    """What of a reading concerns a bundle."""
    return Reading(adapter=reading.adapter, adapter_sha256=reading.adapter_sha256, adapter_scale=reading.adapter_scale)
