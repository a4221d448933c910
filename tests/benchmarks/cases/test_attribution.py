"""Mixtures of the smallest bundles: what they hold, and that each generates as its parts say."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.benchmarks.cases.attribution import attribution_cases, make_mixture
from mezzotint.benchmarks.cases.bundle_subject import load
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.lineup import bundle_cases, check_sources
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.bundle.bundle import write_manifest
from mezzotint.bundle.manifest import Replacement, Source
from mezzotint.errors import MezzotintError
from mezzotint.families.source_hash import weights_sha256
from mezzotint.runtime import Bundle

PROMPT = "a flat emoji of a red apple"


@pytest.fixture
def cases(tiny_bundle: Bundle, tiny_int8: Bundle) -> list[Case]:
    return [case for bundle in (tiny_bundle, tiny_int8) for case in bundle_cases(str(bundle.path), ("onnxruntime",))]


def test_every_quantized_component_is_tried_alone(cases: list[Case], tmp_path: Path, tiny_int8: Bundle) -> None:
    made = attribution_cases(cases, tmp_path)
    assert {case.role for case in made} == {"attribution"}
    assert not any(case.is_timed for case in made)
    for case in made:
        (name,) = case.quantized
        manifest = Bundle.open(case.source).manifest
        assert case.name == f"int8-onnxruntime.{name}-alone"
        generated = ("text_encoder", "unet", "vae_decoder")
        assert [key for key in generated if manifest.components[key].storage != "float32"] == [name]
        assert manifest.components[name] == tiny_int8.manifest.components[name]
        assert Bundle.open(case.source).verify() > 0
    assert [case.quantized for case in made] == [("text_encoder",), ("unet",), ("vae_decoder",)]


def test_a_mixture_generates_as_its_parts_say(tiny_bundle: Bundle, tiny_int8: Bundle, tmp_path: Path) -> None:
    def latents(path: Path) -> list[float]:
        sample = load(Case("x", "bundle", str(path), "onnxruntime", "int8")).generate(
            PROMPT, 1, Workload(prompts=(PROMPT,), steps=2)
        )
        assert sample.latents is not None
        return list(sample.latents.ravel())

    unet = make_mixture(tiny_bundle, tiny_int8, ("unet",), tmp_path / "unet")
    decoder = make_mixture(tiny_bundle, tiny_int8, ("vae_decoder",), tmp_path / "decoder")
    np.testing.assert_array_equal(latents(decoder), latents(tiny_bundle.path))
    assert np.abs(np.subtract(latents(unet), latents(tiny_bundle.path))).max() > 1e-4


def test_a_mixture_is_kept_while_it_is_the_same(tiny_bundle: Bundle, tiny_int8: Bundle, tmp_path: Path) -> None:
    folder = make_mixture(tiny_bundle, tiny_int8, ("unet",), tmp_path / "mixture")
    before = (folder / "mezzotint.json").stat().st_mtime_ns
    make_mixture(tiny_bundle, tiny_int8, ("unet",), folder)
    assert (folder / "mezzotint.json").stat().st_mtime_ns == before
    make_mixture(tiny_bundle, tiny_int8, ("vae_decoder",), folder)
    assert Bundle.open(folder).manifest.components["unet"].storage == "float32"


def test_without_the_fp32_bundle_nothing_can_be_mixed(cases: list[Case], tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="name that bundle as well"):
        attribution_cases([case for case in cases if case.recipe == "int8"], tmp_path)


def test_the_source_is_known_by_the_weights(tiny_checkpoint: Path, tiny_bundle: Bundle, demo_checkpoint: Path) -> None:
    assert weights_sha256(tiny_checkpoint) == tiny_bundle.manifest.source.sha256  # as the exporter takes it
    check_sources(tiny_checkpoint, [tiny_bundle.path])
    with pytest.raises(MezzotintError, match=r"was made from checkpoint .*, not from .*demo.checkpoint"):
        check_sources(demo_checkpoint, [tiny_bundle.path])


def with_part(bundle: Bundle, folder: Path, part: str, source: Source) -> Path:
    """A copy whose manifest says that `part` is from elsewhere."""
    shutil.copytree(bundle.path, folder)
    replacement = Replacement(name="another", sha256="0" * 64)
    write_manifest(folder, replace(bundle.manifest, source=source, replaced={part: replacement}))
    return folder


def test_another_vae_is_compared_with_the_checkpoints_own(
    tiny_checkpoint: Path, tiny_bundle: Bundle, demo_checkpoint: Path, tmp_path: Path
) -> None:
    source = tiny_bundle.manifest.source
    read = replace(source, sha256=weights_sha256(tiny_checkpoint, without=("vae",)))  # as `export --vae` says
    for name, said in (("swapped", source), ("exported", read)):
        bundle = with_part(tiny_bundle, tmp_path / name, "vae", said)
        check_sources(tiny_checkpoint, [bundle])
        with pytest.raises(MezzotintError, match="was made from"):
            check_sources(demo_checkpoint, [bundle])


def test_a_denoiser_from_elsewhere_has_no_reference(tiny_checkpoint: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    read = replace(tiny_bundle.manifest.source, sha256=weights_sha256(tiny_checkpoint, without=("unet",)))
    bundle = with_part(tiny_bundle, tmp_path / "bundle", "unet", read)
    with pytest.raises(MezzotintError, match="has the unet of another, and the reference would have that of"):
        check_sources(tiny_checkpoint, [bundle])
