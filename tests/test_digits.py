"""Whole numbers in texts, and whoever reads one: no text ends in a traceback."""

import pytest

from mezzotint.cli.options import parse_seed
from mezzotint.digits import whole_number
from mezzotint.errors import MezzotintError
from mezzotint.quantize.calibrate.memory_limit import parse_bytes
from mezzotint.quantize.passes.approximations import find_approximations

HUGE = "9" * 5000  # `int` takes 4300 digits


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("18446744073709551615", 2**64 - 1)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "1.0", "1_0", "²", "٣", HUGE])
def test_other_texts_are_none(text: str) -> None:
    assert whole_number(text) is None


@pytest.mark.parametrize("text", [HUGE, "²", "٣"])
def test_layers_and_seeds_that_are_no_number_are_refused(text: str) -> None:
    with pytest.raises(MezzotintError) as refused:
        find_approximations([f"deep-cache:{text}"])
    assert refused.value.got == text
    with pytest.raises(MezzotintError) as refused:
        parse_seed(text)
    assert refused.value.what == "--seed"


@pytest.mark.parametrize("text", [f"{HUGE}GB", f"1.{HUGE}GB"])
def test_sizes_beyond_all_memory_are_refused(text: str) -> None:
    with pytest.raises(MezzotintError, match="such as 6GB"):
        parse_bytes(text)
