"""Arrays that are kept: the same again, made anew when the file is spoiled or the ingredients differ."""

from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.quantize.calibrate.array_cache import cached_arrays, content_key


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def arrays(value: float) -> dict[str, Array]:
    return {"a|b/c": np.full((2, 3), value, dtype=np.float32), "scalar": np.asarray(7)}


def never() -> dict[str, Array]:
    raise AssertionError("it was made again")


@pytest.mark.usefixtures("cache")
def test_arrays_are_made_once() -> None:
    made = cached_arrays("kind", "key", lambda: arrays(1.5))
    again = cached_arrays("kind", "key", never)
    assert sorted(again) == sorted(made)
    for name, array in made.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype


@pytest.mark.usefixtures("cache")
def test_another_kind_or_key_is_another_entry() -> None:
    cached_arrays("kind", "key", lambda: arrays(1.0))
    assert cached_arrays("kind", "other", lambda: arrays(2.0))["a|b/c"][0, 0] == 2.0
    assert cached_arrays("other", "key", lambda: arrays(3.0))["a|b/c"][0, 0] == 3.0


@pytest.mark.parametrize("spoil", [b"", b"not a zip file", None])
def test_a_spoiled_file_is_made_again(spoil: bytes | None, cache: Path) -> None:
    cached_arrays("kind", "key", lambda: arrays(1.0))
    (path,) = [path for path in cache.rglob("*") if path.is_file()]
    path.write_bytes(path.read_bytes()[:-40] if spoil is None else spoil)
    assert cached_arrays("kind", "key", lambda: arrays(2.0))["a|b/c"][0, 0] == 2.0
    assert cached_arrays("kind", "key", never)["a|b/c"][0, 0] == 2.0
    assert [path for path in cache.rglob("*") if path.is_file()] == [path]


def test_a_key_hangs_on_every_ingredient() -> None:
    parts = {"seed": 0, "prompts": ("a", "b"), "hashes": ["x"]}
    changed = [parts | {"seed": 1}, parts | {"prompts": ("b", "a")}, parts | {"hashes": ["y"]}, {**parts, "more": None}]
    assert len({content_key(one) for one in (parts, *changed)}) == 5
    assert content_key(parts) == content_key(dict(reversed(parts.items())))
