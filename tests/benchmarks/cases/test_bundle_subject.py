import pytest

from mezzotint.benchmarks.cases.bundle_subject import averaged, load
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.runtime import Bundle
from tests.conftest import MakeOnce
from tests.runtime.shallow_bundle import cached_bundle

WORKLOAD = Workload(prompts=("a red apple",), seed=1, steps=5)


def test_an_average_has_the_same_sum() -> None:
    steps = averaged((30.0, 2.0, 2.0, 30.0))
    assert steps == (16.0,) * 4


@pytest.mark.parametrize("interval", [None, 2])
def test_a_step_of_whole_and_shallow_calls_is_their_average(
    interval: int | None, make_once: MakeOnce, tiny_bundle: Bundle
) -> None:
    bundle = cached_bundle(make_once, tiny_bundle, "onnxruntime")
    case = Case("it", "bundle", str(bundle.path), "onnxruntime", "fp32", precision="f32", cache_interval=interval)
    subject = load(case)
    sample = subject.generate("a red apple", 1, WORKLOAD)
    assert len(sample.unet_step_ms) == WORKLOAD.steps
    assert len(set(sample.unet_step_ms)) == (1 if interval else WORKLOAD.steps)
    assert sum(sample.unet_step_ms) < sample.end_to_end_ms
    subject.pipe.close()
