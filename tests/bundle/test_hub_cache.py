"""Bundles in the hub's cache: folders of links into the repository's own blobs, and what the hub adds to a folder."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE, file_entry, write_manifest
from mezzotint.engines.lineup import installed_engines
from mezzotint.runtime import Bundle, CheckFailed, MezzotintError, TextToImage
from tests.runtime.small_bundle import make_bundle

REPOSITORY = "models--someone--small"
REVISION = "0123456789" * 4


def snapshot_of(bundle: Path, hub: Path, repository: str = REPOSITORY) -> Path:
    """A folder in a cache as huggingface_hub lays it out: files by their hash, and relative links to them."""
    folder = hub / repository
    (folder / "blobs").mkdir(parents=True)
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        blob = folder / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        link = folder / "snapshots" / REVISION / path.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder / "snapshots" / REVISION


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return snapshot_of(make_bundle(tmp_path / "bundle"), tmp_path / "hub")


def test_a_snapshot_opens_and_verifies(snapshot: Path, tmp_path: Path) -> None:
    assert Bundle.open(snapshot).verify() == Bundle.open(tmp_path / "bundle").verify()
    (tmp_path / "alias").symlink_to(snapshot)
    Bundle.open(tmp_path / "alias").verify()


def test_a_bundle_in_a_folder_of_the_repository_opens(tmp_path: Path) -> None:
    make_bundle(tmp_path / "repository" / "int8" / "openvino")
    snapshot = snapshot_of(tmp_path / "repository", tmp_path / "hub")
    Bundle.open(snapshot / "int8" / "openvino").verify()


@pytest.mark.parametrize("place", ["elsewhere", "hub/elsewhere", "hub/models--someone--other/blobs/0"])
def test_a_link_out_of_the_repository_is_refused(snapshot: Path, tmp_path: Path, place: str) -> None:
    link = snapshot / "unet" / "model.onnx"
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(link, tmp_path / place)
    link.unlink()
    link.symlink_to(os.path.relpath(tmp_path / place, link.parent))
    with pytest.raises(MezzotintError, match="which leaves the bundle"):
        Bundle.open(snapshot)


@pytest.mark.parametrize("repository", ["small", "datasets--someone--small", "models-someone-small"])
def test_links_of_a_folder_that_is_no_repository_are_refused(tmp_path: Path, repository: str) -> None:
    snapshot = snapshot_of(make_bundle(tmp_path / "bundle"), tmp_path / "hub", repository)
    with pytest.raises(MezzotintError, match="which leaves the bundle"):
        Bundle.open(snapshot)


def test_what_the_hub_adds_is_no_stray_and_anything_else_is(snapshot: Path) -> None:
    (snapshot / ".cache" / "huggingface" / "download").mkdir(parents=True)
    for name in (".gitattributes", "README.md", ".cache/huggingface/download/model.onnx.metadata"):
        (snapshot / name).write_text("by the hub")
    Bundle.open(snapshot).verify()
    for name in ("unet/README.md", ".cache/other"):
        (snapshot / name).write_text("stray")
    with pytest.raises(CheckFailed, match=r": \.cache/other is not in .*; unet/README\.md is not in the manifest; "):
        Bundle.open(snapshot).verify()


def test_a_readme_that_the_manifest_names_is_checked(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle")
    (folder / "README.md").write_text("a model card")
    write_manifest(folder, Bundle.open(folder).manifest)
    Bundle.open(folder).verify()
    (folder / "README.md").write_text("A model card")
    with pytest.raises(CheckFailed, match=r"README\.md is changed"):
        Bundle.open(folder).verify()


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Path:
    """The tiny bundle with the UNet's weights in a file of their own, as large ones have them."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("external") / "bundle"
    shutil.copytree(tiny_bundle.path, folder)
    path = folder / "unet" / GRAPH_FILE
    model = ir.load(path)
    path.unlink()
    ir.save(model, path, external_data=EXTERNAL_DATA_FILE)
    files = tuple(file_entry(folder, f"unet/{name}") for name in (GRAPH_FILE, EXTERNAL_DATA_FILE))
    components = dict(tiny_bundle.manifest.components)
    components["unet"] = replace(components["unet"], files=files)
    write_manifest(folder, replace(tiny_bundle.manifest, components=components))
    return folder


def test_large_graphs_get_hard_links_beside_their_weights(external: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(external, tmp_path / "hub")
    for _ in range(2):
        path = Bundle.open(snapshot).graph_path("unet")
        assert path == tmp_path / "hub" / REPOSITORY / "mezzotint" / REVISION / "unet" / GRAPH_FILE
        for name in (GRAPH_FILE, EXTERNAL_DATA_FILE):
            assert not path.with_name(name).is_symlink()
            assert path.with_name(name).samefile(snapshot / "unet" / name)
        blob = (snapshot / "unet" / EXTERNAL_DATA_FILE).resolve()
        content = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(content)  # deleted, and fetched again
    assert Bundle.open(snapshot).graph_path("vae_decoder") == snapshot / "vae_decoder" / GRAPH_FILE
    assert Bundle.open(external).graph_path("unet") == external / "unet" / GRAPH_FILE
    Bundle.open(snapshot).verify()


def test_where_no_hard_link_can_be_made_the_user_learns_what_to_do(
    external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of another user, say. ONNX Runtime reads through the links all the same."""

    def refuse(*_paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    snapshot = snapshot_of(external, tmp_path / "hub")
    assert Bundle.open(snapshot).graph_path("unet") == snapshot / "unet" / GRAPH_FILE
    assert TextToImage.load(snapshot, backend="onnxruntime")("a", steps=1).pixels.shape == (1, 16, 16, 3)
    with pytest.raises(MezzotintError, match="hf download --local-dir"):
        TextToImage.load(snapshot, backend="openvino")


@pytest.mark.parametrize("backend", [engine.name for engine in installed_engines()])
def test_engines_find_weights_behind_links(external: Path, tiny_bundle: Bundle, tmp_path: Path, backend: str) -> None:
    pipe = TextToImage.load(snapshot_of(external, tmp_path / "hub"), backend=backend, precision="f32")
    expected = TextToImage.load(tiny_bundle.path, backend=backend, precision="f32")("a", steps=2).pixels
    np.testing.assert_array_equal(pipe("a", steps=2).pixels, expected)


def test_a_snapshot_is_quantized_like_the_bundle(external: Path, tmp_path: Path) -> None:
    from mezzotint.quantize import quantize_bundle

    snapshot = snapshot_of(external, tmp_path / "hub")
    made = [
        quantize_bundle(source, tmp_path / name, recipe="fp16", target="onnxruntime")
        for name, source in (("a", external), ("b", snapshot))
    ]
    files = [{entry.path: entry.sha256 for entry in bundle.entries()} for bundle in made]
    assert files[0] == files[1]
