"""Numbers out of numpy's arrays become Python's own, wherever a call may have them."""

import json

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import plain
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Control, Settings
from mezzotint.runtime.settings import batch_of, check_settings, settings_of_batch


def test_numbers_are_plain_and_everything_else_stays() -> None:
    other = object()
    given = [np.int64(3), (np.float32(0.5), True), {"a": np.bool_(True), "b": "text"}, np.arange(2), None]
    found = plain([*given, other])
    assert found == [3, (0.5, True), {"a": True, "b": "text"}, [0, 1], None, other]
    assert [type(found[0]), type(found[1][0]), type(found[2]["a"]), type(found[3][0])] == [int, float, bool, int]


def test_settings_take_numpys_numbers_and_images_say_them() -> None:
    """A sweep over np.linspace, seeds out of np.arange: metadata is JSON, which has no numpy."""
    edges = Control(name="edges", image=Image.new("RGB", (8, 8)), scale=np.float32(0.5), end=np.float64(0.75))  # type: ignore[arg-type]
    batch = settings_of_batch(
        "a cat",
        np.int64(2),  # type: ignore[arg-type]
        {
            "steps": np.int64(4),  # type: ignore[typeddict-item]
            "guidance": np.float32(2.5),  # type: ignore[typeddict-item]
            "seed": np.arange(7, 9),  # type: ignore[typeddict-item]
            "guidance_interval": (np.float32(0.0), np.float32(0.5)),  # type: ignore[typeddict-item]
            "loras": {"style": np.float16(0.5)},  # type: ignore[dict-item]
            "original_size": np.array([512, 768]),  # type: ignore[typeddict-item]
            "controls": [edges],
        },
    )
    assert [one.seed for one in batch] == [7, 8]
    assert json.loads(json.dumps([vars(one) | {"controls": None} for one in batch]))[1]["guidance"] == 2.5
    assert type(batch[0].controls[0].scale) is float
    (alone,) = batch_of(Settings("a cat", steps=np.int32(4), guidance=np.float32(2.5)))  # type: ignore[arg-type]
    assert json.loads(json.dumps(vars(alone)))["steps"] == 4


@pytest.mark.parametrize("name", ["steps", "seed", "clip_skip", "cache_interval", "guidance", "eta", "strength"])
def test_true_is_no_number(name: str) -> None:
    for value in (True, np.bool_(True)):
        (settings,) = batch_of(Settings("a cat", **{name: value}))  # type: ignore[arg-type]
        with pytest.raises(MezzotintError, match=f"{name} is True"):
            check_settings(settings)
