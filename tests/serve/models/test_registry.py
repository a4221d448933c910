"""Profiles of a bundle are models of their own, after the bundle; one whose graphs do not open is said so."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.bundle.bundle import write_manifest
from mezzotint.runtime import Bundle
from mezzotint.serve.models.registry import Registry, UnknownModel
from mezzotint.serve.work.bundle_maker import BundleMaker
from tests.bundle.test_profile import PROFILE
from tests.serve.live import ENGINE, live


@pytest.fixture
def profiled(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A folder with one bundle, whose profile "fast" has its own settings; the graphs of "broken" are not there."""
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "bundles" / "tiny")
    profiles = {"broken": replace(PROFILE, variant="gone"), "fast": PROFILE}
    write_manifest(copy, replace(tiny_bundle.manifest, profiles=profiles))
    return tmp_path / "bundles"


def test_profiles_are_models(profiled: Path) -> None:
    registry = Registry.scan([profiled])
    assert list(registry.models) == ["tiny", "tiny@fast"]
    assert list(registry.broken) == ["tiny@broken"]
    assert registry.default == "tiny"
    model = registry.find("tiny@fast")
    assert (model.folder.name, model.profile) == ("tiny", "fast")
    assert model.bundle.defaults() == PROFILE.settings
    assert registry.find("tiny").bundle.defaults() != PROFILE.settings
    with pytest.raises(UnknownModel):
        registry.find("tiny@slow")


def test_a_profiles_images_have_its_settings(profiled: Path) -> None:
    with live(profiled, lambda: BundleMaker(str(profiled / "tiny"), ENGINE, "fast")) as server:
        view = server.done(server.job(model="tiny@fast")["id"])
    settings = view["images"][0]["settings"]
    assert (settings["steps"], settings["scheduler"]) == (12, "unipc")
    assert settings["guidance_interval"] == [0.0, 0.6]
