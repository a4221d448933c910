"""Bundles with a shallow graph, and pipelines that note which graph runs."""

from pathlib import Path
from typing import Any

from mezzotint.arrays import Array
from mezzotint.runtime import Bundle, TextToImage
from tests.conftest import MakeOnce

__all__ = ["SHALLOW", "WHOLE", "cached_bundle", "spied"]

WHOLE, SHALLOW = "unet.deep", "unet.shallow"


def cached_bundle(make_once: MakeOnce, source: Bundle, target: str, approximation: str = "deep-cache") -> Bundle:
    """In FP32; made once, and not to be written to."""
    from mezzotint.quantize import quantize_bundle

    plain = dict.fromkeys(source.manifest.components, "fp32")

    def make(folder: Path) -> None:
        quantize_bundle(
            source.path, folder, recipe="fp16", target=target, overrides=plain, approximations=(approximation,)
        )

    name = f"{source.manifest.source.sha256[:8]}-{approximation.replace(':', '-')}-{target}"
    return Bundle.open(make_once(name, make))


class Spy:
    """Stands in for a session, and notes which graph ran on how many texts and features."""

    def __init__(self, session: Any, called: list[tuple[str, int]]) -> None:
        self.session, self.component = session, session.component
        self.called = called

    def run(self, feeds: dict[str, Array]) -> Any:
        rows = {len(array) for array in feeds.values() if array.ndim}
        self.called.append((self.session.name, max(rows)))
        return self.session.run(feeds)


def spied(pipe: TextToImage) -> tuple[TextToImage, list[tuple[str, int]]]:
    called: list[tuple[str, int]] = []
    watched = {name: Spy(pipe.sessions[name], called) for name in (WHOLE, SHALLOW)}
    sessions: dict[str, Any] = {name: watched.get(name) or pipe.sessions[name] for name in pipe.sessions}
    return TextToImage(pipe.bundle, pipe.choice, sessions), called
