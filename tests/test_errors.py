"""An error's parts are fields, and its text is one sentence made of them."""

import pickle

import pytest

from mezzotint.errors import CheckFailed, MezzotintError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MezzotintError("as it was"), "as it was"),
        (MezzotintError(what="--target", got="tpu", expected=("a", "b", "c")), "--target is 'tpu', expected a, b or c"),
        (MezzotintError(what="--target", got="tpu", expected=["a"]), "--target is 'tpu', expected a"),
        (
            MezzotintError(
                where="x/mezzotint.json", what="height", got=17, expected="a multiple of 2", advice="fix it"
            ),
            "x/mezzotint.json: height is 17, expected a multiple of 2; fix it",
        ),
        (MezzotintError(where="x", got=1), "x is 1"),
        (MezzotintError(where="x", what="has no prompts", advice="add one"), "x: has no prompts; add one"),
    ],
)
def test_the_parts_make_one_sentence(error: MezzotintError, sentence: str) -> None:
    assert str(error) == sentence


def test_the_parts_are_fields_and_survive_another_process() -> None:
    error = CheckFailed(where="unet", what="parity", got=3.5, expected="12 dB", advice="look")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(one, CheckFailed)
        assert (one.where, one.what, one.got, one.expected, one.advice) == ("unet", "parity", 3.5, "12 dB", "look")
        assert str(one) == str(error)


def test_a_huge_value_is_cut() -> None:
    assert len(str(MezzotintError(what="prompt", got="x" * 10_000))) < 100
