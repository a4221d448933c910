"""What rewrites declined survives its file, and a file that is none is refused by name."""

from pathlib import Path

import pytest

from mezzotint.bundle.declined import Declined, joined, read_declines, write_declines
from mezzotint.errors import MezzotintError

MASKED = Declined(node="attn/Attention", reason="it has a mask", got="a float one")
WHOLE = Declined(node="up.conv_shortcut/Conv", reason="it is a convolution in groups")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "unet" / "passes.json"
    declines = {"ort-attention": (MASKED,), "split-shortcuts": (WHOLE, MASKED)}
    write_declines(declines, path)
    assert read_declines(path) == declines
    assert list(read_declines(path)) == list(declines)  # the order in which passes ran


@pytest.mark.parametrize("declines", [{}, {"ort-attention": ()}])
def test_nothing_declined_is_no_file(declines: dict[str, tuple[Declined, ...]], tmp_path: Path) -> None:
    write_declines(declines, tmp_path / "passes.json")
    assert list(tmp_path.iterdir()) == []
    assert read_declines(tmp_path / "passes.json") == {}


def test_runs_are_joined_and_each_place_stands_once() -> None:
    both = joined([{"a": (MASKED,), "b": ()}, {"a": (WHOLE, MASKED), "c": (WHOLE,)}])
    assert both == {"a": (MASKED, WHOLE), "c": (WHOLE,)}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{", "passes.json"),
        ("[]", "list"),
        ('{"ort-attention": {}}', "ort-attention"),
        ('{"ort-attention": [{"node": "a"}]}', "ort-attention"),
        ('{"ort-attention": [{"node": "a", "reason": "b", "why": "c"}]}', "ort-attention"),
        ('{"ort-attention": [{"node": 1, "reason": "b"}]}', "ort-attention"),
        ("[" * 100_000, "passes.json"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "passes.json").write_text(text, encoding="utf-8")
    with pytest.raises(MezzotintError, match=where):
        read_declines(tmp_path / "passes.json")
