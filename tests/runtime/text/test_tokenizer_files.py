"""Tokenizer folders that cannot be used: each is an error that names the file and the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.tokenizer_files import read_tokenizer

EMBEDDED = Path(__file__).parents[3] / "demo" / "checkpoint" / "tokenizer"


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
        *(
            ({"added_tokens_decoder": listed}, "has the added_tokens_decoder .*, expected an object of tokens")
            for listed in (5, ["!"], {"a": {"content": "!"}}, {"7": "!"}, {"7": None}, {"7": 5})
        ),
        ({"added_tokens_decoder": {"7": {"content": 5}}}, "must have a text as content"),
        ({"added_tokens_decoder": {"7": {"content": "!", "lstrip": "x"}}}, "as true or false"),
        ({"added_tokens_decoder": {}, "pad_token": {"content": ["!"]}}, "must have a text as content"),
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


EXTRAS = [
    ("additional_special_tokens", ["<sks>"]),
    ("additional_special_tokens", [{"content": "<sks>", "lstrip": True}]),
    ("extra_special_tokens", {"image_token": "<sks>"}),
    ("extra_special_tokens", ["<sks>", "<|endoftext|>"]),
    ("additional_special_tokens", ["!"]),  # in the vocabulary, but not among the tokens that are found whole
]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("option", "value"), EXTRAS)
def test_special_tokens_without_an_id_are_refused(folder: Path, option: str, value: object, whole: bool) -> None:
    if not whole:
        (folder / "tokenizer.json").unlink()
    change_config(folder, **{option: value})
    with pytest.raises(MezzotintError, match=f"has the {option} (<sks>|!) without saying their ids"):
        read_tokenizer(folder)


def test_special_tokens_in_special_tokens_map_are_refused_too(folder: Path) -> None:
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["<sks>"]}))
    with pytest.raises(MezzotintError, match="has the additional_special_tokens <sks> without"):
        read_tokenizer(folder)


@pytest.mark.parametrize("value", [[], {}, None, ["<|endoftext|>"], {"end": "<|endoftext|>"}])
@pytest.mark.parametrize("option", ["additional_special_tokens", "extra_special_tokens"])
def test_special_tokens_that_are_known_are_read(folder: Path, option: str, value: object) -> None:
    change_config(folder, **{option: value})
    assert read_tokenizer(folder).window == 32


def test_special_tokens_with_an_id_are_read(folder: Path) -> None:
    token = {"content": "<sks>", "lstrip": False, "normalized": False, "rstrip": False, "special": True}
    change_config(folder, additional_special_tokens=["<sks>"], added_tokens_decoder={"4096": token})
    backend = read_tokenizer(folder).backend
    assert backend.token_to_id("<sks>") == 4096
    assert 4096 in backend.encode("a <sks> b").ids


@pytest.mark.parametrize("value", [5, True, "<sks>"])
def test_special_tokens_that_are_no_list_are_an_error(folder: Path, value: object) -> None:
    change_config(folder, additional_special_tokens=value)
    with pytest.raises(MezzotintError, match="expected a list or an object"):
        read_tokenizer(folder)


def test_added_tokens_json_may_say_the_same_again(folder: Path) -> None:
    for text in ("{}", '{"<|endoftext|>": 4095}'):
        (folder / "added_tokens.json").write_text(text)
        assert read_tokenizer(folder).eos_id == 4095


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", '{"\\ud800": 4096}'),
        ("added_tokens.json", "[" * 100_000),
        ("special_tokens_map.json", '{"eos_token": "\\ud800"}'),
        ("tokenizer.json", '{"model": "\\ud800"}'),
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer_config.json", "[" * 100_000),
    ],
)
def test_files_that_no_reader_takes_are_errors_on_one_line(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(MezzotintError) as error:
        read_tokenizer(folder)
    assert len(str(error.value).splitlines()) == 1
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("value", [-1, 1.5, None, "5", 2**40])
def test_ids_that_are_none_are_errors_on_one_line(folder: Path, value: object) -> None:
    (folder / "tokenizer.json").unlink()
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"word": value}), encoding="utf-8")
    with pytest.raises(MezzotintError, match="cannot be read") as error:
        read_tokenizer(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.8])
def test_merges_that_were_cut_off_are_an_error(folder: Path, kept: float) -> None:
    (folder / "tokenizer.json").unlink()
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "merges.txt").write_text("".join(lines[: 1 + int(kept * len(lines))]), encoding="utf-8")
    with pytest.raises(MezzotintError, match=r"merges\.txt has \d+ merges, .* it was cut off"):
        read_tokenizer(folder)


def test_a_few_words_that_no_merge_makes_are_no_fault(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    more = {f"<word{index}>": len(vocabulary) + index for index in range(100)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary | more), encoding="utf-8")
    assert read_tokenizer(folder).backend.token_to_id("<word99>") == len(vocabulary) + 99
