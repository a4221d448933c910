"""Paths in a bundle's manifest: none leads out of the bundle, by dots, by links, or from the root."""

from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.bundle.bundle import Bundle, file_entry, sha256_of
from mezzotint.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest
from mezzotint.errors import MezzotintError
from tests.runtime.small_bundle import FILES, make_bundle, with_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("path", ["../secret", "unet/../../secret", "unet/../model_index.json", "link", "dir/secret"])
def test_a_path_that_leaves_the_bundle_is_refused(folder: Path, path: str) -> None:
    """By dots, or by links to a file and to a folder outside; dots are refused even where they lead back."""
    secret = folder.parent / "secret"
    secret.write_bytes(b"secret")
    (folder / "link").symlink_to(secret)
    (folder / "dir").symlink_to(folder.parent)
    with_file(folder, FileEntry(path, 6, sha256_of(secret)))
    with pytest.raises(MezzotintError, match=f"names '{path}', which leaves the bundle"):
        Bundle.open(folder)


def test_an_absolute_path_is_refused_even_into_the_bundle(folder: Path) -> None:
    for path in (folder.parent / "secret", folder.resolve() / "model_index.json"):
        path.write_bytes(b"{}")
        with_file(folder, FileEntry(str(path), 2, sha256_of(path)))
        with pytest.raises(MezzotintError, match="which leaves the bundle"):
            Bundle.open(folder)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "\ud800", "loop", ""])
def test_a_path_that_is_none_is_an_error(folder: Path, path: str) -> None:
    (folder / "loop").symlink_to("loop")
    place = folder / MANIFEST_NAME
    entry = FileEntry(path, 1, "00")
    text = replace(Manifest.read(place), files=(entry,)).to_json()
    place.write_text(text.replace("\ud800", "\\ud800"), encoding="utf-8")
    with pytest.raises(MezzotintError, match=r"leaves the bundle|expected 1"):
        Bundle.open(folder)


def test_links_within_the_bundle_and_to_the_bundle_are_fine(folder: Path) -> None:
    (folder / "unet/model.onnx").rename(folder / "unet/first.onnx")
    (folder / "unet/model.onnx").symlink_to("first.onnx")
    with_file(folder, file_entry(folder, "unet/first.onnx"))
    (folder.parent / "alias").symlink_to(folder)
    assert Bundle.open(folder.parent / "alias").verify() == len(FILES) + 2


@pytest.mark.parametrize("name", ["missing", "a file", "x" * 300, "nul\0"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(MezzotintError, match="is not a folder; expected a bundle"):
        Bundle.open(tmp_path / name)
