"""A benchmark with an adapter: the reference has it in its weights, bundles in theirs or beside them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.adapters.given import GivenAdapter
from mezzotint.benchmarks.cases import baseline, bundle_subject
from mezzotint.benchmarks.cases.lineup import line_up
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.bundle.bundle import sha256_of
from mezzotint.decibel import sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.quantize import add_live_adapters, fuse_adapters
from mezzotint.runtime import Bundle
from tests.adapters.made import module_weights
from tests.adapters.merged import Merged
from tests.conftest import MakeOnce
from tests.quantize.adapt.conftest import adapter

WORKLOAD = Workload(prompts=("a red apple",), steps=3, guidance=5.0)
SCALE = 0.7
SEED = 1000


@pytest.fixture(scope="module")
def folder(make_once: MakeOnce, tiny_checkpoint: Path, tiny_bundle: Bundle) -> Path:
    """The tiny bundle with an adapter in its weights, and live."""

    def make(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = adapter(folder / "one.safetensors", Merged(tiny_checkpoint), "lora")
        fuse_adapters(tiny_bundle.path, [GivenAdapter(path=file, scale=SCALE)], folder / "fused")
        add_live_adapters(tiny_bundle.path, [GivenAdapter(path=file)], folder / "live")

    return make_once("benchmarked-adapters", make)


@pytest.fixture(scope="module")
def given(folder: Path) -> GivenAdapter:
    return GivenAdapter(path=folder / "one.safetensors", scale=SCALE)


def test_the_reference_has_it_in_its_weights(
    given: GivenAdapter, folder: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    models = Merged(tiny_checkpoint)
    adapter(tmp_path / "same.safetensors", models, "lora", SCALE)
    assert sha256_of(tmp_path / "same.safetensors") == sha256_of(given.path)
    reference = line_up(str(tiny_checkpoint), [str(folder / "fused")], adapter=given)[0]
    pipe = baseline.load(reference).pipe
    for part in ("unet", "text_encoder"):
        expected, found = (module_weights(getattr(one, part)) for one in (models, pipe))
        assert found.keys() == expected.keys()
        assert all(np.allclose(found[name].numpy(force=True), one.numpy(force=True)) for name, one in expected.items())


def test_bundles_with_it_live_and_in_their_weights_answer_as_the_reference(
    given: GivenAdapter, folder: Path, tiny_checkpoint: Path
) -> None:
    bundles = [str(folder / name) for name in ("fused", "live")]
    reference, *cases = line_up(str(tiny_checkpoint), bundles, other_seed=False, adapter=given)
    assert [case.name for case in cases] == ["fp32-onnxruntime@fused", "fp32-onnxruntime@live"]
    subject = baseline.load(reference)
    sample, calls = subject.generate_recorded(WORKLOAD.prompts[0], SEED, WORKLOAD)
    answers = np.stack([call.output for call in calls if call.output is not None])
    for case in cases:
        found = bundle_subject.load(case)
        assert sqnr_db(answers, found.predict(WORKLOAD.prompts[0], calls, WORKLOAD)) > 80.0
        image = found.generate(WORKLOAD.prompts[0], SEED, WORKLOAD)
        assert sqnr_db(sample.pixels, image.pixels) > 60.0


def test_a_case_without_it_leaves_live_adapters_off(folder: Path, tiny_checkpoint: Path) -> None:
    (case,) = line_up(str(tiny_checkpoint), [str(folder / "live")], other_seed=False)[1:]
    assert bundle_subject.load(case).loras == {}


def test_bundles_that_are_another_model_are_refused(
    given: GivenAdapter, folder: Path, tiny_checkpoint: Path, tiny_bundle: Bundle
) -> None:
    for bundle, wanted in ((tiny_bundle.path, given), (folder / "fused", replace(given, scale=1.0))):
        with pytest.raises(MezzotintError) as refusal:
            line_up(str(tiny_checkpoint), [str(bundle)], adapter=wanted)
        assert str(refusal.value.where) == str(bundle)
