import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.benchmarks.cases.bundle_subject import load
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.lineup import BF16_BASELINE, FP16_BASELINES, OTHER_SEED, line_up
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.bundle.manifest import MANIFEST_NAME, Manifest, Replacement, Source
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle, TextToImage
from tests.bundle.test_profile import PROFILE
from tests.conftest import MakeOnce
from tests.runtime.shallow_bundle import cached_bundle
from tests.runtime.small_bundle import change_manifest


def make_bundle(folder: Path, recipe: str, target: str, **replaced: Replacement) -> str:
    """A bundle without components: all that a line-up reads."""
    folder.mkdir(parents=True)
    manifest = Manifest("stable-diffusion", Source("x", "0" * 64), recipe, target, {}, replaced=replaced)
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return str(folder)


def test_reference_first_then_bundles_then_the_ceiling(tmp_path: Path) -> None:
    bundles = [make_bundle(tmp_path / "a", "fp32", "portable"), make_bundle(tmp_path / "b", "int8", "openvino")]
    cases = line_up("checkpoint", bundles)
    assert [case.name for case in cases] == ["diffusers-fp32", "fp32-onnxruntime", "int8-openvino", OTHER_SEED]
    assert [case.role for case in cases] == ["reference", "bundle", "bundle", "control"]
    assert [case.is_timed for case in cases] == [True, True, True, False]


def test_portable_bundles_run_on_every_backend_asked_for_and_lowered_ones_on_their_own(tmp_path: Path) -> None:
    bundles = [make_bundle(tmp_path / "a", "fp32", "portable"), make_bundle(tmp_path / "b", "int8", "openvino")]
    cases = line_up("checkpoint", bundles, ("onnxruntime", "openvino"))
    named = [case.name for case in cases if case.role == "bundle"]
    assert named == ["fp32-onnxruntime", "fp32-openvino", "int8-openvino"]


def test_bundles_for_a_gpu_have_stand_ins_where_those_are_asked_for(tmp_path: Path) -> None:
    made = [("fp32", "portable"), ("int8", "openvino"), ("fp8", "tensorrt"), ("fp16", "cuda")]
    bundles = [make_bundle(tmp_path / recipe / target, recipe, target) for recipe, target in made]
    cases = {case.name: case for case in line_up("checkpoint", bundles, stand_ins=True) if case.role == "bundle"}
    assert list(cases) == ["fp32-onnxruntime", "int8-openvino", "fp8-tensorrt", "fp16-cuda"]
    stand_ins = {case.name for case in cases.values() if case.kind == "stand-in"}
    assert stand_ins == {"fp8-tensorrt", "fp16-cuda"}
    assert {(cases[name].backend, cases[name].is_timed) for name in stand_ins} == {("onnxruntime", False)}
    own = {case.name: case.backend for case in line_up("checkpoint", bundles) if case.kind == "bundle"}
    assert own["fp8-tensorrt"] == "tensorrt"


def test_the_bf16_baseline_is_a_timed_control(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a", "fp32", "portable")
    case = next(case for case in line_up("checkpoint", [bundle], bf16_baseline=True) if case.name == BF16_BASELINE)
    assert (case.role, case.precision, case.is_timed) == ("control", "bf16", True)


def test_controls_can_be_left_out(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a", "int8", "openvino")
    names = [case.name for case in line_up("checkpoint", [bundle], bf16_baseline=False, other_seed=False)]
    assert names == ["diffusers-fp32", "int8-openvino"]


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    bundles = [make_bundle(tmp_path / name, "int8", "openvino") for name in ("min-max", "percentile")]
    named = [case.name for case in line_up("checkpoint", bundles) if case.role == "bundle"]
    assert named == ["int8-openvino@min-max", "int8-openvino@percentile"]


def test_a_bundle_with_another_vae_is_told_from_one_without_by_its_folder(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain", "int8", "openvino")
    swapped = make_bundle(tmp_path / "taesd", "int8", "openvino", vae=Replacement(name="taesd", sha256="0" * 64))
    named = [case.name for case in line_up("checkpoint", [plain, swapped]) if case.role == "bundle"]
    assert named == ["int8-openvino", "int8-openvino@taesd"]


def test_profiles_are_cases_of_their_own(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a", "int8", "openvino")
    inner = make_bundle(tmp_path / "a" / "variants" / "half", "fp16", "openvino")
    profiles = {"fast": PROFILE, "exact": replace(PROFILE, variant=Path(inner).name)}
    change_manifest(Path(bundle), lambda manifest: replace(manifest, profiles=profiles))
    cases = [case for case in line_up("checkpoint", [bundle]) if case.role == "bundle"]
    assert [(case.name, case.profile) for case in cases] == [
        ("int8-openvino", None),
        ("fp16-openvino@exact", "exact"),
        ("int8-openvino@fast", "fast"),
    ]
    assert {case.source for case in cases} == {bundle}


def test_a_profile_is_generated_with_its_own_settings(tiny_bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    change_manifest(copy, lambda manifest: replace(manifest, profiles={"fast": PROFILE}))
    workload = Workload(prompts=("a pear",), steps=3)
    case = Case("fp32-onnxruntime@fast", "bundle", str(copy), "onnxruntime", "fp32", profile="fast")
    sample = load(case).generate("a pear", 5, workload)
    with TextToImage.load(copy, profile="fast", backend="onnxruntime") as pipe:
        np.testing.assert_array_equal(sample.pixels, pipe("a pear", seed=5).pixels[0])
    assert len(sample.unet_step_ms) == PROFILE.settings.steps
    assert len(load(replace(case, profile=None)).generate("a pear", 5, workload).unet_step_ms) == 3


def test_intervals_are_cases_of_bundles_with_a_shallow_graph(
    make_once: MakeOnce, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    cached = cached_bundle(make_once, tiny_bundle, "onnxruntime")
    other = make_bundle(tmp_path / "a", "int8", "openvino")
    found = line_up("checkpoint", [str(cached.path), other], cache_intervals=(2, 3))
    cases = {case.name: case.cache_interval for case in found if case.role == "bundle"}
    assert cases == {
        "fp16-onnxruntime": None,
        "int8-openvino": None,
        "fp16-onnxruntime@cache-2": 2,
        "fp16-onnxruntime@cache-3": 3,
    }
    (case,) = (one for one in found if one.cache_interval == 2)
    sample = load(case).generate("a pear", 5, Workload(prompts=("a pear",), steps=3))
    with TextToImage.load(cached.path) as pipe:
        run: dict[str, Any] = {"steps": 3, "guidance": 5.0, "scheduler": "ddim", "seed": 5}
        np.testing.assert_array_equal(sample.pixels, pipe("a pear", cache_interval=2, **run).pixels[0])


@pytest.mark.parametrize("intervals", [(2,), (1,)])
def test_intervals_without_a_shallow_graph_are_refused(intervals: tuple[int, ...], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a", "int8", "openvino")
    with pytest.raises(MezzotintError, match="deep-cache"):
        line_up("checkpoint", [bundle], cache_intervals=intervals)


def test_one_bundle_given_twice_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a", "int8", "openvino")
    with pytest.raises(MezzotintError, match="given twice"):
        line_up("checkpoint", [bundle, bundle])


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError):
        line_up("checkpoint", [str(tmp_path)])


def test_the_baselines_of_a_gpu_are_timed_controls(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "ort", "int8", "onnxruntime")
    cases = {case.name: case for case in line_up("checkpoint", [bundle], fp16_baselines=True)}
    eager, compiled = (cases[name] for name in FP16_BASELINES)
    assert (eager.precision, eager.recipe, eager.role, eager.is_timed) == ("f16", "fp16", "control", True)
    assert (compiled.precision, compiled.recipe, compiled.role) == ("f16", "compile", "control")
    assert not set(FP16_BASELINES) & {case.name for case in line_up("checkpoint", [bundle])}
