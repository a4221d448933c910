"""Graphs to choose from: each once, each with a name, and none of another checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.bundle.bundle import Bundle, write_manifest
from mezzotint.bundle.manifest import Manifest, Source
from mezzotint.bundle.profile import check_name
from mezzotint.errors import MezzotintError
from mezzotint.tune.variants import variant_name, variants_of
from tests.bundle.test_profile import with_variant
from tests.runtime.small_bundle import make_bundle


def with_graph(folder: Path, sha256: str) -> Path:
    """A small bundle whose manifest says that its graph is another one."""
    make_bundle(folder)
    manifest = Manifest.read(folder / "mezzotint.json")
    unet = manifest.components["unet"]
    files = (replace(unet.files[0], sha256=sha256), *unet.files[1:])
    write_manifest(folder, replace(manifest, components={"unet": replace(unet, files=files)}))
    return folder


def test_equal_graphs_are_one_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    bundle = with_variant(tmp_path / "bundle")
    others = [
        with_graph(tmp_path / place / "half", digit * 64) for place, digit in (("a", "1"), ("b", "2"), ("c", "1"))
    ]
    same = make_bundle(tmp_path / "same")
    found = variants_of(bundle, [*others, same, others[0]])
    assert [one.name for one in found][:2] == ["own", "half"]
    assert len({one.name for one in found}) == len(found) == 4
    assert [one.is_own for one in found] == [True, False, False, False]
    assert found[0].bundle is bundle
    for one in found:
        check_name(one.name)


def test_graphs_of_other_weights_are_refused(tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other")
    manifest = replace(Manifest.read(other / "mezzotint.json"), source=Source("other", "11" * 32))
    write_manifest(other, manifest)
    with pytest.raises(MezzotintError, match="same weights") as error:
        variants_of(Bundle.open(make_bundle(tmp_path / "bundle")), [other])
    assert error.value.where == other


@pytest.mark.parametrize("name", ["half", "Mine INT8 (new)", "___", "銅版画", "x" * 90, ".hidden"])
def test_every_folder_has_a_name_that_a_profile_may_have(name: str, tmp_path: Path) -> None:
    check_name(variant_name(tmp_path / name))
