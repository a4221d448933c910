"""A profile comes into its bundle whole or not at all, and leaves all else as it was."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.bundle.bundle import Bundle, write_manifest
from mezzotint.bundle.manifest import Manifest
from mezzotint.errors import MezzotintError
from mezzotint.tune import store
from mezzotint.tune.store import add_profile, check_profile
from mezzotint.tune.variants import Variant
from tests.bundle.test_profile import PROFILE, with_variant
from tests.runtime.small_bundle import make_bundle

HALF = replace(PROFILE, variant="half")


def own(bundle: Bundle) -> Variant:
    return Variant(name="own", bundle=bundle, is_own=True)


def other(folder: Path) -> Variant:
    """A bundle whose graph is another, with a profile and a variant of its own."""
    bundle = with_variant(folder)
    write_manifest(folder, replace(bundle.manifest, recipe="fp16"))
    return Variant(name="half", bundle=Bundle.open(folder))


def test_graphs_come_without_profiles_of_their_own_and_go_with_the_last_that_has_them(tmp_path: Path) -> None:
    bundle = Bundle.open(make_bundle(tmp_path / "bundle"))
    (tmp_path / "bundle" / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    with_half = add_profile(bundle, "exact", HALF, other(tmp_path / "other"))
    with_half.verify()
    inner = with_half.profiled("exact")
    Bundle.open(inner.path).verify()
    assert inner.manifest.recipe == "fp16"
    assert not (inner.path / "variants").exists()
    assert Manifest.read(inner.path / "mezzotint.json").profiles == {}
    assert "license: mit" in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    both = add_profile(with_half, "fast", PROFILE, own(with_half))
    assert list(both.manifest.profiles) == ["exact", "fast"]
    assert both.manifest.components == bundle.manifest.components
    assert both.profiled("exact").manifest.recipe == "fp16"
    last = add_profile(both, "exact", PROFILE, own(both))
    last.verify()
    assert not (tmp_path / "bundle" / "variants").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "other"]


def test_a_failure_leaves_the_bundle_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(make_bundle(tmp_path / "bundle"))
    before = (tmp_path / "bundle" / "mezzotint.json").read_bytes()

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(store.shutil, "copyfile", broken)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        add_profile(bundle, "exact", HALF, other(tmp_path / "other"))
    assert (tmp_path / "bundle" / "mezzotint.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "other"]


def test_behind_a_link_the_bundle_itself_gets_the_profile(tmp_path: Path) -> None:
    make_bundle(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    bundle = Bundle.open(tmp_path / "link")
    add_profile(bundle, "fast", PROFILE, own(bundle))
    assert (tmp_path / "link").is_symlink()
    assert list(Bundle.open(tmp_path / "real").manifest.profiles) == ["fast"]


def test_where_nothing_can_be_linked_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(store.os, "link", refuse)  # type: ignore[attr-defined]
    bundle = Bundle.open(make_bundle(tmp_path / "bundle"))
    add_profile(bundle, "fast", PROFILE, own(bundle)).verify()


def test_names_that_are_taken_are_refused_unless_they_may_be_overwritten(tmp_path: Path) -> None:
    bundle = Bundle.open(make_bundle(tmp_path / "bundle"))
    bundle = add_profile(bundle, "fast", PROFILE, own(bundle))
    check_profile(bundle, "fast", overwrite=True)
    check_profile(bundle, "slow", overwrite=False)
    for name in ("fast", "not a name"):
        with pytest.raises(MezzotintError) as error:
            check_profile(bundle, name, overwrite=False)
        assert error.value.exit_code == 2
    shutil.rmtree(tmp_path / "bundle")
