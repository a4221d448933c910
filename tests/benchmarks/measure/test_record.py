from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import FloatArray
from mezzotint.benchmarks.cases.case import Sample
from mezzotint.benchmarks.measure.record import Record, read_record, stack_record, write_record
from mezzotint.errors import MezzotintError
from mezzotint.runtime.denoiser_calls import DenoiserCall


def _floats(*shape: int) -> FloatArray:
    return np.random.default_rng(sum(shape)).random(shape, dtype=np.float32)


def _sample() -> Sample:
    return Sample(_floats(8, 8, 3), _floats(4, 2, 2), 1.0, (2.0, 2.0), 3.0, 9.0)


def _calls(count: int = 2) -> list[DenoiserCall]:
    """The text is the same in all, the sample is not."""
    text, sample = _floats(2, 7, 3), _floats(2, 4, 2, 2)
    return [DenoiserCall(900.0 - step, {"sample": sample + step, "text": text}, sample * step) for step in range(count)]


def test_a_reference_survives_its_file(tmp_path: Path) -> None:
    record = stack_record("f32", [_sample(), _sample()], calls=[_calls(), _calls(3)[1:]])
    write_record(record, tmp_path / "r.npz")
    again = read_record(tmp_path / "r.npz")
    assert again.precision == "f32"
    for name in ("pixels", "latents", "model_outputs"):
        np.testing.assert_array_equal(getattr(again, name), getattr(record, name))
    for found, expected in zip(again.calls_of(1), _calls(3)[1:], strict=True):
        assert (found.timestep, found.output) == (expected.timestep, None)
        assert sorted(found.feeds) == ["sample", "text"]
        for name, feed in found.feeds.items():
            np.testing.assert_array_equal(feed, expected.feeds[name])
    assert [path.name for path in tmp_path.iterdir()] == ["r.npz"]


def test_a_case_has_no_trajectory(tmp_path: Path) -> None:
    write_record(stack_record("bf16", [_sample()]), tmp_path / "r.npz")
    again = read_record(tmp_path / "r.npz")
    assert again.model_outputs is None
    with pytest.raises(MezzotintError, match="--fresh"):
        again.calls_of(0)


@pytest.mark.parametrize("name", ["pixels", "latents"])
def test_nan_is_refused_with_its_place_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    record = stack_record("f32", [_sample(), _sample()])
    array = getattr(record, name).copy()
    array[1, 0] = np.nan
    with pytest.raises(MezzotintError, match=f"{name} of image 1 "):
        write_record(replace(record, **{name: array}), tmp_path / "r.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(MezzotintError, match="not a benchmark record"):
        read_record(tmp_path / "r.npz")


def test_the_record_type_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Record("f32", _floats(1, 1, 1, 3), _floats(1, 4, 1, 1)).precision = "bf16"  # type: ignore[misc]
