"""Exact passes by name: each can be left out, and no other name is taken for one."""

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.exact import EXACT, GUIDED, IMAGES, without


@pytest.mark.parametrize("name", [one.name for one in EXACT])
def test_a_pass_is_left_out_by_name(name: str) -> None:
    exact = find_target("openvino").exact
    assert [one.name for one in without(exact, (name,))] == [one.name for one in exact if one.name != name]


def test_an_unknown_pass_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(MezzotintError) as refused:
        without(EXACT, ("geglu", "gelu"))
    assert (refused.value.got, refused.value.exit_code) == ("gelu", 2)
    assert refused.value.expected == tuple(one.name for one in (*EXACT, *GUIDED, *IMAGES))
