"""A profile of a bundle: what is written is read, its settings and graphs take the place of the bundle's, no other."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.bundle import Bundle, file_entry, write_manifest
from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.manifest import Manifest, Source
from mezzotint.bundle.profile import Confirmed, Goal, Profile, Promise, check_name
from mezzotint.errors import MezzotintError
from tests.runtime.small_bundle import change_manifest, make_bundle

SETTINGS = Defaults(
    sampler="unipc", scheduler_class="DDIMScheduler", steps=12, guidance=5.0, guidance_interval=(0.0, 0.6)
)
PROFILE = Profile(
    settings=SETTINGS,
    promise=Promise(goal=Goal.PSNR_DB, value=35.0),
    confirmed=Confirmed(
        against="small in FP32, ddim, 25 steps, guidance 5",
        prompts=32,
        psnr_db=35.6,
        ssim=0.98,
        image_ms=412.0,
        step_ms=30.5,
        speed_up=1.9,
        cpu="a processor",
        cores=2,
    ),
)


def with_profiles(folder: Path, **profiles: Profile) -> Bundle:
    make_bundle(folder)
    change_manifest(folder, lambda manifest: replace(manifest, profiles=profiles))
    return Bundle.open(folder)


def with_variant(folder: Path, change: Any = lambda manifest: manifest) -> Bundle:
    """A bundle whose profile "fast" has graphs of its own, whose manifest was changed by `change`."""
    make_bundle(folder)
    inner = make_bundle(folder / "variants" / "half")
    (inner / "unet" / "model.onnx").write_bytes(b"another graph")
    manifest = Manifest.read(inner / "mezzotint.json")
    unet = manifest.components["unet"]
    files = tuple(file_entry(inner, one.path) for one in unet.files)
    write_manifest(inner, change(replace(manifest, recipe="fp16", components={"unet": replace(unet, files=files)})))
    outer = replace(Manifest.read(folder / "mezzotint.json"), profiles={"fast": replace(PROFILE, variant="half")})
    write_manifest(folder, outer)
    return Bundle.open(folder)


def test_manifests_without_profiles_keep_their_text_and_others_come_back(tmp_path: Path) -> None:
    bundle = with_profiles(tmp_path, fast=PROFILE)
    text = bundle.manifest.to_json()
    assert Manifest.parse(text) == bundle.manifest
    assert "profiles" not in replace(bundle.manifest, profiles={}).to_json()
    whole = replace(PROFILE, settings=replace(SETTINGS, guidance_interval=(0.0, 1.0)))
    assert "guidance_interval" not in replace(bundle.manifest, profiles={"fast": whole}).to_json()


def test_a_profiled_bundle_has_its_settings(tmp_path: Path) -> None:
    bundle = with_profiles(tmp_path, fast=PROFILE)
    profiled = bundle.profiled("fast")
    assert profiled.defaults() == SETTINGS
    assert profiled.profile == PROFILE
    assert profiled.path == bundle.path
    assert bundle.profiled(None) is bundle
    assert bundle.profile is None


def test_a_profile_with_graphs_is_run_with_these(tmp_path: Path) -> None:
    bundle = with_variant(tmp_path / "bundle")
    profiled = bundle.profiled("fast")
    assert profiled.defaults() == SETTINGS
    assert profiled.graph_path("unet").read_bytes() == b"another graph"
    assert profiled.manifest.recipe == "fp16"
    own = [entry.path for entry in bundle.own_files()]
    assert own == ["model_index.json", "tokenizer/vocab.json", "unet/config.json"]
    bundle.verify()
    shutil.rmtree(tmp_path / "bundle" / "variants" / "half")
    with pytest.raises(MezzotintError, match="missing"):
        Bundle.open(tmp_path / "bundle")


def test_graphs_of_another_checkpoint_are_refused(tmp_path: Path) -> None:
    bundle = with_variant(tmp_path / "b", lambda manifest: replace(manifest, source=Source("small", "11" * 32)))
    with pytest.raises(MezzotintError, match="another checkpoint"):
        bundle.profiled("fast")


@pytest.mark.parametrize("profiles", [{}, {"fast": PROFILE, "slow": PROFILE}])
def test_an_unknown_profile_names_those_that_there_are(profiles: dict[str, Profile], tmp_path: Path) -> None:
    bundle = with_profiles(tmp_path, **profiles)
    with pytest.raises(MezzotintError) as error:
        bundle.profiled("fats")
    assert error.value.exit_code == 2
    assert "'fats'" in str(error.value)
    assert all(name in str(error.value) for name in profiles)
    assert profiles or "mezzotint tune" in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variant", "../other"),
        ("variant", ".hidden"),
        ("variant", 3),
        ("settings", {**json.loads(json.dumps({"sampler": "ddim", "scheduler_class": "x"})), "steps": 0}),
        ("settings", {"sampler": "ddim", "scheduler_class": "x", "guidance_interval": [0.5, 0.2]}),
        ("settings", {"sampler": "ddim", "scheduler_class": "x", "guidance_interval": [0.5]}),
        ("promise", {"goal": "beauty", "value": 1.0}),
        ("surprise", 1),
    ],
)
def test_what_is_no_profile_is_refused(field: str, value: object, tmp_path: Path) -> None:
    bundle = with_profiles(tmp_path, fast=PROFILE)
    data = json.loads(bundle.manifest.to_json())
    data["profiles"]["fast"][field] = value
    (tmp_path / "mezzotint.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(MezzotintError) as error:
        Bundle.open(tmp_path)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "Fast", "a/b", "..", "a b", "x" * 41, "-fast", "fast\n"])
def test_names_are_fit_for_paths_and_commands(name: str) -> None:
    with pytest.raises(MezzotintError):
        check_name(name)
