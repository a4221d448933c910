"""Sessions that stay, sessions that go, and a pipeline that keeps none between its components."""

import gc
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.bundle.precision import Compute
from mezzotint.engines.session import Session
from mezzotint.engines.sessions import Sessions
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, MezzotintError, TextToImage
from tests.runtime.test_image_to_image import photo

NAMES = ("text_encoder", "unet")


class Opener:
    """Opens empty sessions, slowly, and counts them."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, name: str) -> Session:
        self.opened.append(name)
        time.sleep(0.02)
        nothing: Any = None
        return Session(name, nothing, nothing, Compute.F32)


@pytest.mark.parametrize("keep", [True, False])
def test_a_session_is_opened_when_it_is_asked_for(keep: bool) -> None:
    opener = Opener()
    sessions = Sessions(NAMES, opener, keep=keep)
    assert (list(sessions), len(sessions), sessions.open_names, opener.opened) == (list(NAMES), 2, (), [])
    first = sessions["unet"]
    assert sessions["unet"] is first
    assert (sessions.open_names, opener.opened) == (("unet",), ["unet"])
    with pytest.raises(KeyError):
        sessions["vae"]


def test_what_is_not_kept_goes_with_its_last_user() -> None:
    kept, freed = Sessions(NAMES, Opener(), keep=True), Sessions(NAMES, Opener(), keep=False)
    held = [sessions["unet"] for sessions in (kept, freed)]
    assert (kept.open_names, freed.open_names) == (("unet",), ("unet",))
    held.clear()
    assert (kept.open_names, freed.open_names) == (("unet",), ())


def test_threads_share_one_session() -> None:
    opener = Opener()
    sessions = Sessions(NAMES, opener, keep=False)
    found: list[Session] = []
    threads = [threading.Thread(target=lambda: found.append(sessions["unet"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opener.opened == ["unet"]
    assert len({id(session) for session in found}) == 1


class Watch:
    """Which components are open whenever one runs."""

    def __init__(self, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        run = Session.run

        def watched(session: Session, feeds: Any) -> Any:
            self.seen.append((session.name, sessions.open_names))
            return run(session, feeds)

        monkeypatch.setattr(Session, "run", watched)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_low_memory_holds_one_component_at_a_time_and_generates_the_same(
    tiny_bundle: Bundle, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TextToImage.load(tiny_bundle.path, backend=backend)
    frugal = TextToImage.load(tiny_bundle.path, backend=backend, low_memory=True)
    assert isinstance(frugal.sessions, Sessions)
    expected = plain(["a", "b"], steps=2)
    watch = Watch(frugal.sessions, monkeypatch)
    gc.disable()  # nothing may wait for the collector of cycles
    try:
        found = frugal(["a", "b"], steps=2)
        assert frugal.sessions.open_names == ()
    finally:
        gc.enable()
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert {name for name, _ in watch.seen} == {"text_encoder", "unet", "vae_decoder"}
    assert [names for name, names in watch.seen if names != (name,)] == []
    assert frugal.precision == plain.precision


def test_once_each_graph_is_freed_when_the_call_has_used_it(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the decoder, which needs most memory besides weights, runs where the denoiser was."""
    plain = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    once = TextToImage.load(tiny_bundle.path, backend="onnxruntime", once=True)
    assert open_names_of(once) == ("text_encoder", "unet", "vae_decoder")
    expected = plain(["a", "b"], steps=2)
    assert isinstance(once.sessions, Sessions)
    watch = Watch(once.sessions, monkeypatch)
    gc.disable()  # nothing may wait for the collector of cycles
    try:
        found = once(["a", "b"], steps=2)
        assert open_names_of(once) == ()
    finally:
        gc.enable()
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert set(watch.seen) == {
        ("text_encoder", ("text_encoder", "unet", "vae_decoder")),
        ("unet", ("unet", "vae_decoder")),
        ("vae_decoder", ("vae_decoder",)),
    }
    np.testing.assert_array_equal(once(["a", "b"], steps=2).pixels, expected.pixels)  # loaded again
    once.close()
    with pytest.raises(MezzotintError):
        once("a", steps=1)


def test_low_memory_of_images_as_input(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    image = ImageToImage.load(tiny_bundle.path, backend="onnxruntime", low_memory=True)
    assert isinstance(image.sessions, Sessions)
    watch = Watch(image.sessions, monkeypatch)
    image("a", photo(16, 16), steps=2)
    Inpaint.sharing(image)("a", photo(16, 16), Image.new("L", (16, 16), 255), steps=2)
    assert [names for name, names in watch.seen if names != (name,)] == []
    assert "vae_encoder" in {name for name, _ in watch.seen}


def test_low_memory_decodes_in_tiles_unless_told_otherwise(tiny_bundle: Bundle) -> None:
    frugal = TextToImage.load(tiny_bundle.path, backend="onnxruntime", low_memory=True)
    options: dict[str, Any] = {"steps": 1, "height": 24, "width": 40}
    tiled = frugal("a", vae_tiling=True, **options).pixels
    whole = frugal("a", vae_tiling=False, **options).pixels
    np.testing.assert_array_equal(frugal("a", **options).pixels, tiled)
    assert np.abs(tiled - whole).max() > 1e-4
    plain = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    np.testing.assert_array_equal(plain("a", **options).pixels, whole)


def test_a_component_that_is_missing_is_named_at_load(tiny_bundle: Bundle, tmp_path: Path) -> None:
    import shutil
    from dataclasses import replace

    from mezzotint.bundle.bundle import write_manifest

    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))
    shutil.rmtree(folder / "vae_encoder")
    manifest = tiny_bundle.manifest
    components = {name: part for name, part in manifest.components.items() if name != "vae_encoder"}
    write_manifest(folder, replace(manifest, components=components))
    text = TextToImage.load(folder, low_memory=True)
    assert text("a", steps=1).pixels.shape == (1, 16, 16, 3)
    for attempt in (lambda: ImageToImage.load(folder), lambda: Inpaint.sharing(text)):
        with pytest.raises(MezzotintError, match="has no component 'vae_encoder'; it has"):
            attempt()


@pytest.mark.parametrize("keep", [True, False])
def test_closing_closes_what_is_open_and_opens_no_more(keep: bool) -> None:
    sessions = Sessions(NAMES, Opener(), keep=keep)
    held = sessions["unet"]
    sessions.close()
    sessions.close()
    assert sessions.open_names == ()
    with pytest.raises(MezzotintError, match="load"):
        sessions["text_encoder"]
    with pytest.raises(MezzotintError, match="closed"):
        held.run({})


def open_names_of(pipe: TextToImage) -> tuple[str, ...]:
    assert isinstance(pipe.sessions, Sessions)
    return pipe.sessions.open_names


def test_a_pipeline_frees_its_graphs_at_the_end_of_a_with(tiny_bundle: Bundle) -> None:
    with TextToImage.load(tiny_bundle.path, backend="onnxruntime") as pipe:
        expected = pipe("a cat", steps=2).pixels
        assert open_names_of(pipe)
        shared = ImageToImage.sharing(pipe)
    assert open_names_of(pipe) == ()
    with pytest.raises(MezzotintError, match="closed"):
        pipe("a cat", steps=2)
    with pytest.raises(MezzotintError, match="closed"):
        shared("a cat", photo(16, 16), steps=2)
    with TextToImage.load(tiny_bundle.path, backend="onnxruntime") as again:
        np.testing.assert_array_equal(again("a cat", steps=2).pixels, expected)
