"""Tokenizer folders that cannot be used: each is an error that names the file and the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.tokenizer_files import read_tokenizer

EMBEDDED = Path(__file__).parents[2] / "demo" / "checkpoint" / "tokenizer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded tokenizer, to be spoiled."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "tokenizer"))


def change_config(folder: Path, **options: Any) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


def test_the_embedded_tokenizer_is_read() -> None:
    files = read_tokenizer(EMBEDDED)
    assert (files.window, files.bos_id, files.eos_id, files.pad_id) == (32, 4094, 4095, 4095)


@pytest.mark.parametrize("window", [None, 1, 10**30, "77", 77.0])
def test_a_window_that_is_none_is_an_error(folder: Path, window: object) -> None:
    change_config(folder, model_max_length=window)
    with pytest.raises(MezzotintError, match="model_max_length must be an integer of 2 to 65536"):
        read_tokenizer(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer_class": "T5Tokenizer"}, "has a T5Tokenizer; only CLIPTokenizer is supported"),
        ({"padding_side": "left"}, "CLIP does both at the right"),
        ({"added_tokens_decoder": {}, "pad_token": "[PAD]"}, r"'\[PAD\]' as pad_token, but its vocabulary does not"),
        ({"added_tokens_decoder": {}, "pad_token": 5}, "special token 5 must be a string or an object"),
        ({"added_tokens_decoder": {"7": {"content": "!"}}}, "gives '!' the id 7, but the vocabulary does not"),
    ],
)
def test_configs_that_cannot_be_followed_are_errors(folder: Path, options: dict[str, Any], message: str) -> None:
    change_config(folder, **options)
    with pytest.raises(MezzotintError, match=message):
        read_tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "vocab.json", "merges.txt"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / name).unlink()
    with pytest.raises(MezzotintError, match=name):
        read_tokenizer(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{", "the vocabulary in .* cannot be read"),
        ("tokenizer.json", "[]", "the vocabulary in .* cannot be read"),
        ("vocab.json", "{", "vocab.json is not JSON"),
        ("vocab.json", '{"a": "b"}', "the vocabulary in .* cannot be read"),
        ("merges.txt", "#version: 0.2\na b c", "the vocabulary in .* cannot be read"),
        ("merges.txt", "#version: 0.2\nnot there", "the vocabulary in .* cannot be read"),
        ("tokenizer_config.json", "{", "tokenizer_config.json is not JSON"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json must hold a JSON object"),
    ],
)
def test_broken_files_are_errors(folder: Path, name: str, content: str, message: str) -> None:
    if name != "tokenizer.json":
        (folder / "tokenizer.json").unlink()
    (folder / name).write_text(content)
    with pytest.raises(MezzotintError, match=message):
        read_tokenizer(folder)


def test_added_tokens_json_is_refused(folder: Path) -> None:
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(MezzotintError, match=r"added_tokens\.json is not supported"):
        read_tokenizer(folder)
