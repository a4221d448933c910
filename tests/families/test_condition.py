"""Conditions of several prompts in one batch."""

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError
from mezzotint.families.condition import Condition, stack


def condition(tokens: int, value: float) -> Condition:
    """Of one prompt: `tokens` vectors, and one for the whole."""
    rows = np.arange(tokens, dtype=np.float32)[np.newaxis, :, np.newaxis] + np.full((1, 1, 3), value, np.float32)
    return Condition({"tokens": rows, "whole": np.full((1, 5), value, np.float32)})


def test_rows_of_several_prompts_follow_each_other() -> None:
    both = stack([condition(4, 1.0), condition(4, 2.0)])
    assert {name: array.shape for name, array in both.arrays.items()} == {"tokens": (2, 4, 3), "whole": (2, 5)}
    for index, value in enumerate((1.0, 2.0)):
        for name, array in both.rows(index, index + 1).arrays.items():
            np.testing.assert_array_equal(array, condition(4, value).arrays[name])


def test_tokens_are_repeated_to_one_length_and_nothing_else_is() -> None:
    both = stack([condition(2, 1.0), condition(6, 2.0)])
    assert both.arrays["tokens"].shape == (2, 6, 3)
    np.testing.assert_array_equal(both.arrays["tokens"][0], np.tile(condition(2, 1.0).arrays["tokens"][0], (3, 1)))
    assert both.arrays["whole"].shape == (2, 5)


def test_attention_over_repeated_keys_is_attention_over_them_once() -> None:
    rng = np.random.default_rng(0)
    query, keys, values = (rng.standard_normal((rows, 3)) for rows in (2, 5, 5))

    def attend(times: int) -> Array:
        weights = np.exp(query @ np.tile(keys, (times, 1)).T)
        attended: Array = weights / weights.sum(axis=1, keepdims=True) @ np.tile(values, (times, 1))
        return attended

    np.testing.assert_allclose(attend(4), attend(1), rtol=1e-12)


def test_lengths_without_a_bearable_multiple_are_refused() -> None:
    with pytest.raises(MezzotintError, match=r"prompts of 14, 22, 26 tokens cannot share one batch"):
        stack([condition(count * 2, 0.0) for count in (7, 11, 13)])


def test_nothing_is_a_condition_too() -> None:
    assert stack([Condition({}), Condition({})]).arrays == {}
    assert Condition({}).rows(0, 1).arrays == {}
