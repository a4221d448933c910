"""The baseline, a bundle and Optimum on every family and on a single file: one image, and one answer to one call."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from mezzotint.benchmarks.cases import baseline, bundle_subject
from mezzotint.benchmarks.cases.case import Case, Reading
from mezzotint.benchmarks.cases.lineup import check_sources, line_up
from mezzotint.benchmarks.cases.workload import Workload, defaults_of
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import Origins, export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.runtime import Bundle
from tests.conftest import MakeOnce
from tests.export.published import PUBLISHED, save_published
from tests.export.single_files.ldm import ldm_clip, ldm_unet, ldm_vae, with_ema
from tests.families.conftest import xl_bundle, xl_checkpoint  # noqa: F401 -- fixtures

PROMPT = "a flat emoji of a red apple"
FLOOR_DB, ANSWER_DB = 80.0, 80.0


@dataclass(frozen=True)
class Pair:
    """A checkpoint and the bundle of it."""

    checkpoint: Path
    bundle: Bundle

    def workload(self, **options: Any) -> Workload:
        own = defaults_of(self.bundle.path, None)
        assert own.sampler is not None
        asked = Workload(prompts=(PROMPT,), steps=min(own.steps, 4), guidance=own.guidance, scheduler=own.sampler)
        return replace(asked, **options)


@pytest.fixture(scope="module", params=["xl-base", "xl-lcm", "lcm"])
def pair(
    request: pytest.FixtureRequest,
    make_once: MakeOnce,
    demo_checkpoint: Path,
    xl_checkpoint: Callable[[str], Path],  # noqa: F811
    xl_bundle: Callable[[str], Bundle],  # noqa: F811
) -> Pair:
    if request.param != "lcm":
        kind = request.param.removeprefix("xl-")
        return Pair(xl_checkpoint(kind), xl_bundle(kind))

    def make(folder: Path) -> None:
        published = PUBLISHED["lcm-dreamshaper-7"]
        small = replace(published, unet={**published.unet, "sample_size": 16})
        export_checkpoint(str(save_published(folder / "checkpoint", small, demo_checkpoint)), folder / "bundle")

    folder = make_once("benchmarked-lcm", make)
    return Pair(folder / "checkpoint", Bundle.open(folder / "bundle"))


def reference(pair: Pair, precision: str = "f32") -> Any:
    return baseline.load(Case("x", "baseline", str(pair.checkpoint), "diffusers", "fp32", precision))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_family_is_compared_call_by_call(pair: Pair) -> None:
    """The same image from both, its calls answered alike, and another prompt's conditions change the answers."""
    workload = pair.workload()
    theirs = reference(pair)
    ours = bundle_subject.load(Case("y", "bundle", str(pair.bundle.path), "onnxruntime", "fp32"))
    sample, calls = theirs.generate_recorded(PROMPT, 7, workload)
    assert psnr_db(sample.pixels, ours.generate(PROMPT, 7, workload).pixels) > FLOOR_DB
    assert len(sample.unet_step_ms) == len(calls) == workload.steps
    assert min(sample.text_encoder_ms, *sample.unet_step_ms, sample.vae_decoder_ms) > 0
    answers = np.stack([call.output for call in calls if call.output is not None])
    for subject in (theirs, ours):
        assert sqnr_db(answers, subject.predict(PROMPT, calls, workload)) > ANSWER_DB
    other = theirs.predict("a noto emoji of a cat", calls, workload)
    assert sqnr_db(other, ours.predict("a noto emoji of a cat", calls, workload)) > ANSWER_DB
    assert sqnr_db(answers, other) < 60.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_bf16_begins_and_goes_on_with_the_same_noise(pair: Pair) -> None:
    workload = pair.workload()
    sample, bf16 = (reference(pair, precision).generate(PROMPT, 7, workload) for precision in ("f32", "bf16"))
    assert 15.0 < psnr_db(sample.pixels, bf16.pixels) < 70.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Optimum's own
def test_optimum_is_compared_likewise(pair: Pair) -> None:
    pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    from mezzotint.benchmarks.cases import peer_optimum

    workload = pair.workload()
    theirs = peer_optimum.load(Case("x", "optimum", str(pair.bundle.path), "onnxruntime", "fp32", "f32", is_peer=True))
    sample, calls = reference(pair).generate_recorded(PROMPT, 7, workload)
    assert psnr_db(sample.pixels, theirs.generate(PROMPT, 7, workload).pixels) > 60.0
    answers = np.stack([call.output for call in calls if call.output is not None])
    assert sqnr_db(answers, theirs.predict(PROMPT, calls, workload)) > 60.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inpaint", "refiner"])
def test_what_needs_an_image_is_refused(kind: str, xl_checkpoint: Callable[[str], Path]) -> None:  # noqa: F811
    with pytest.raises(MezzotintError, match="from prompts alone"):
        baseline.load(Case("x", "baseline", str(xl_checkpoint(kind)), "diffusers", "fp32", "f32"))


@pytest.fixture(scope="module")
def file(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint in one file, with averages, which are its weights."""
    modules = load_checkpoint(str(tiny_checkpoint)).modules
    state = ldm_unet(modules["unet"]) | ldm_vae(modules["vae"]) | ldm_clip(modules["text_encoder"])
    path = tmp_path_factory.mktemp("single") / "tiny.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in with_ema(state).items()}, path)
    return path


def test_a_single_file_is_read_as_the_folder_that_it_came_from(file: Path, tiny_checkpoint: Path) -> None:
    workload = Workload(prompts=(PROMPT,), steps=2)
    folder = baseline.load(Case("x", "baseline", str(tiny_checkpoint), "diffusers", "fp32", "f32"))
    reading = Reading(config=str(tiny_checkpoint), weights="ema")
    single = baseline.load(Case("x", "baseline", str(file), "diffusers", "fp32", "f32", reading=reading))
    expected, got = (one.generate(PROMPT, 7, workload) for one in (folder, single))
    np.testing.assert_array_equal(got.pixels, expected.pixels)
    plain = replace(reading, weights="plain")
    other = baseline.load(Case("x", "baseline", str(file), "diffusers", "fp32", "f32", reading=plain))
    assert psnr_db(expected.pixels, other.generate(PROMPT, 7, workload).pixels) < 60.0


@pytest.mark.slow
def test_the_bundle_says_how_its_file_was_read(file: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    origins = Origins(config=tiny_checkpoint, weights="plain")
    bundle = export_checkpoint(str(file), tmp_path / "bundle", origins=origins)
    check_sources(file, [bundle.path])
    cases = line_up(str(file), [str(bundle.path)], config=str(tiny_checkpoint))
    assert cases[0].reading == Reading(config=str(tiny_checkpoint), weights="plain", prediction_type="epsilon")
    workload = Workload(prompts=(PROMPT,), steps=2)
    expected, got = (
        load(case).generate(PROMPT, 7, workload)
        for load, case in ((baseline.load, cases[0]), (bundle_subject.load, cases[1]))
    )
    assert psnr_db(expected.pixels, got.pixels) > FLOOR_DB
    with pytest.raises(MezzotintError, match=r"was made from tiny\.safetensors"):
        check_sources(tiny_checkpoint, [bundle.path])
