"""Artwork: packages are what their hashes say, and icons become pixels as Pillow draws them. No network access."""

import hashlib
import json
import tarfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from demo.train import fetch
from demo.train.artwork.concepts import Concept
from demo.train.artwork.icons import IconSet, fit, rasterize
from demo.train.config import KEYWORDS, STYLES, Package
from demo.train.fetch import PACKAGES, fetch_all, is_fetched, unpack
from demo.train.pictures import render_all
from demo.train.workspace import Workspace
from mezzotint.errors import MezzotintError
from mezzotint.progress import silent
from tests.demo.small_recipe import RECIPE, write_artwork

# Packs whatever lies in $ARCHIVES, and notes what it was asked for.
NPM = """#!/bin/sh
echo "$@" >> "$ARCHIVES/calls"
while [ "$1" != --pack-destination ]; do shift; done
cp "$ARCHIVES/archive.tgz" "$2/some-name.tgz"
"""


def archive(folder: Path) -> Path:
    """An npm archive of two files."""
    package = folder / "package"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"license": "MIT"}')
    (package / "icons.json").write_text("{}")
    path = folder / "archive.tgz"
    with tarfile.open(path, "w:gz") as contents:
        contents.add(package, "package")
    return path


def pinned(path: Path) -> Package:
    digest = b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return replace(KEYWORDS, integrity=f"sha512-{digest}")


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for npm at the head of the PATH; the folder with what it packs."""
    folder, program = tmp_path / "archives", tmp_path / "bin" / "npm"
    archive(folder)
    program.parent.mkdir()
    program.write_text(NPM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("ARCHIVES", str(folder))
    return folder


def test_packages_are_fetched_once(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pinned(npm / "archive.tgz")
    monkeypatch.setattr(fetch, "PACKAGES", (package,))
    workspace = Workspace(tmp_path / "training")
    assert not is_fetched(workspace)
    fetch_all(workspace, silent)
    fetch_all(workspace, silent)
    assert is_fetched(workspace)
    assert {path.name for path in workspace.package(package).iterdir()} == {"package.json", "icons.json"}
    (call,) = (npm / "calls").read_text().splitlines()
    assert call.startswith("pack emojilib@4.0.3 --ignore-scripts")


@pytest.mark.usefixtures("npm")
def test_another_archive_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "training")
    with pytest.raises(
        MezzotintError, match=r"fluent-emoji-flat 1.2.6 has the integrity sha512-.*expected sha512-RY47"
    ):
        fetch_all(workspace, silent)
    assert not is_fetched(workspace)
    assert list((workspace.root / "artwork").iterdir()) == []


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "evil.tgz"
    (tmp_path / "file").write_text("x")
    with tarfile.open(path, "w:gz") as contents:
        contents.add(tmp_path / "file", "../outside")
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(path, pinned(path), tmp_path / "in" / "package")
    assert not (tmp_path / "outside").exists()


def test_without_npm_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MezzotintError, match="install Node"):
        fetch_all(Workspace(tmp_path / "training"), silent)


def test_the_licences_in_the_repository_are_those_of_the_pinned_packages(repo_root: Path) -> None:
    folder = repo_root / "demo" / "checkpoint" / "licences"
    for package in STYLES.values():
        data = json.loads((folder / f"{package.folder}.package.json").read_text())
        assert (data["name"], data["version"], data["license"]) == (package.name, package.version, package.licence)
    assert (folder / f"{KEYWORDS.folder}.LICENSE").is_file()
    assert len({package.folder for package in PACKAGES}) == 3


SQUARE = '<rect x="2" y="4" width="8" height="4" fill="#f00"/>'
ICONS = {
    "icons": {"plain": {"body": SQUARE}, "wide": {"body": SQUARE, "width": 32, "left": -8}},
    "aliases": {"same": {"parent": "plain"}, "turned": {"parent": "plain", "rotate": 1}, "lost": {"parent": "nobody"}},
    "width": 16,
    "height": 16,
}


def test_an_icon_has_the_sets_sizes_unless_it_states_its_own() -> None:
    icons = IconSet(ICONS)
    assert 'viewBox="0 0 16 16"' in (icons.svg("plain") or "")
    assert 'viewBox="-8 0 32 16"' in (icons.svg("wide") or "")
    assert icons.svg("same") == icons.svg("plain")
    assert [icons.svg(name) for name in ("turned", "lost", "absent")] == [None] * 3


def test_rendering_is_premultiplied_and_where_the_drawing_is() -> None:
    pytest.importorskip("resvg_py")
    pixels = rasterize(
        IconSet({**ICONS, "icons": {"plain": {"body": SQUARE.replace("#f00", "#f0080080")}}}).svg("plain") or ""
    )
    assert pixels.shape == (256, 256, 4)
    rows, columns = np.nonzero(pixels[..., 3])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64, 127, 32, 159)
    np.testing.assert_allclose(pixels[96, 96], np.array([240 / 255, 8 / 255, 0, 1]) * 128 / 255, atol=0.01)


def test_fitting_centres_and_scales_what_is_drawn() -> None:
    image = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(image).rectangle((10, 100, 137, 163), fill=(255, 0, 0, 255))  # 128 x 64
    fitted = fit(np.asarray(image, dtype=np.float32) / np.float32(255.0), 64, 48)
    rows, columns = np.nonzero(fitted[..., 3] > 0.5)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (8, 56, 20, 44)
    assert fitted[32, 32].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert (fitted[..., :3] <= fitted[..., 3:]).all()
    with pytest.raises(ValueError, match="nothing is drawn"):
        fit(np.zeros((256, 256, 4), np.float32), 64, 48)


def test_a_concept_that_no_set_has_is_named(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    workspace = Workspace(tmp_path / "training")
    write_artwork(workspace)
    concepts = (Concept("red-ball", "red ball", "focus"), Concept("unicorn", "unicorn", "focus"))
    with pytest.raises(MezzotintError, match="1 concepts are in no icon set, such as unicorn"):
        render_all(workspace, RECIPE, concepts, silent)
