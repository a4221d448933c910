"""Bundles on disk: whatever is changed, missing or added is found."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.bundle import Bundle, list_files, write_manifest
from mezzotint.bundle.manifest import MANIFEST_NAME, Manifest, TensorSpec
from mezzotint.errors import CheckFailed, MezzotintError
from tests.runtime.small_bundle import FILES, make_bundle, with_component


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def test_a_whole_bundle_opens_and_verifies(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.verify() == len(FILES) + 1
    assert sorted(entry.path for entry in bundle.entries()) == sorted(FILES)
    assert bundle.graph_path("unet") == folder / "unet" / "model.onnx"
    assert bundle.config("unet/config.json") == {"sample_size": 8}
    assert Bundle.open(str(folder)) == bundle


def test_a_real_export_verifies(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.verify() == len(list_files(tiny_bundle.path))
    assert list(tiny_bundle.manifest.components) == ["text_encoder", "unet", "vae_decoder", "vae_encoder"]


@pytest.mark.parametrize("name", [*FILES, MANIFEST_NAME])
def test_a_flipped_bit_in_any_file_is_found(folder: Path, name: str) -> None:
    """Every byte of the manifest and of the small files; 300 of the largest one."""
    path = folder / name
    original = path.read_bytes()
    rng = random.Random(name)
    places = range(len(original)) if len(original) < 2000 or name == MANIFEST_NAME else rng.sample(range(2048), 300)
    for place in places:
        spoilt = bytearray(original)
        spoilt[place] ^= 1 << rng.randrange(8)
        path.write_bytes(spoilt)
        with pytest.raises(MezzotintError, match="make"):
            Bundle.open(folder).verify()
    path.write_bytes(original)
    Bundle.open(folder).verify()


def test_all_offenders_are_named_at_once(folder: Path) -> None:
    (folder / "unet/model.onnx").write_bytes(b"A graph")
    (folder / "model_index.json").write_bytes(b"[]")
    (folder / "unet/notes.txt").write_text("mine")
    (folder / "nowhere").symlink_to("gone")
    (folder / "elsewhere").symlink_to(folder.parent)
    with pytest.raises(CheckFailed) as caught:
        Bundle.open(folder).verify()
    for finding in (
        "unet/model.onnx is changed; model_index.json is changed",
        "elsewhere is not in the manifest; nowhere is not in the manifest; unet/notes.txt is not in the manifest",
    ):
        assert finding in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_changed_manifest_that_still_parses_is_found(folder: Path) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text().replace('"recipe": "fp32"', '"recipe": "int8"'))
    assert Bundle.open(folder).manifest.recipe == "int8"
    with pytest.raises(CheckFailed, match=r"mezzotint\.json is changed"):
        Bundle.open(folder).verify()


def test_a_file_that_vanishes_after_opening_is_found(folder: Path) -> None:
    bundle = Bundle.open(folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(CheckFailed, match=r"model_index\.json is changed"):
        bundle.verify()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_does_not_open(folder: Path, name: str) -> None:
    size = len(FILES[name])
    os.truncate(folder / name, size - 1)
    with pytest.raises(MezzotintError, match=rf"{name} has {size - 1} bytes, expected {size}"):
        Bundle.open(folder)
    (folder / name).unlink()
    with pytest.raises(MezzotintError, match=rf"{name} is missing, expected {size} bytes"):
        Bundle.open(folder)


def test_a_bundle_cloned_without_its_large_files(folder: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4' * 64}\nsize 2048\n"
    (folder / "unet" / "model.onnx").write_text(pointer, encoding="utf-8")
    with pytest.raises(MezzotintError, match=r"unet/model\.onnx is a git-lfs pointer .*git lfs pull"):
        Bundle.open(folder)


def test_a_component_without_files_is_refused(folder: Path) -> None:
    component = Manifest.read(folder / MANIFEST_NAME).components["unet"]
    with_component(folder, replace(component, files=()))
    with pytest.raises(MezzotintError, match="unet has no files"):
        Bundle.open(folder)


@pytest.mark.parametrize("dtype", ["bfloat16", "object", "float32, int8", ""])
def test_a_dtype_that_no_input_can_have_is_refused(folder: Path, dtype: str) -> None:
    component = Manifest.read(folder / MANIFEST_NAME).components["unet"]
    with_component(folder, replace(component, inputs=(TensorSpec("x", dtype, ()),)))
    with pytest.raises(MezzotintError, match=f"unet's 'x' has the dtype '{dtype}', expected float32"):
        Bundle.open(folder)


def test_an_unknown_component_lists_the_known(folder: Path) -> None:
    with pytest.raises(MezzotintError, match="has no component 'vae'; it has unet"):
        Bundle.open(folder).component("vae")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000, None])
def test_a_config_that_is_no_object_is_an_error(folder: Path, content: bytes | None) -> None:
    bundle = Bundle.open(folder)
    if content is None:
        (folder / "unet/config.json").unlink()
    else:
        (folder / "unet/config.json").write_bytes(content)
    with pytest.raises(MezzotintError, match=r"unet/config\.json .*make the bundle again"):
        bundle.config("unet/config.json")


def test_a_manifest_that_cannot_be_read_is_not_written(folder: Path) -> None:
    manifest = Manifest.read(folder / MANIFEST_NAME)
    before = (folder / MANIFEST_NAME).read_bytes()
    mistyped: Any = {"onnx": 1}
    with pytest.raises(MezzotintError, match=r"versions\.onnx: expected"):
        write_manifest(folder, replace(manifest, versions=mistyped))
    assert (folder / MANIFEST_NAME).read_bytes() == before


def test_opening_finishes_an_interrupted_swap(folder: Path) -> None:
    shutil.move(folder, folder.with_name(".bundle.ready"))
    assert Bundle.open(folder).verify() == len(FILES) + 1
