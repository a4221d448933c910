"""A folder with tokenizer.json beside vocab.json and merges.txt: both read alike, or the folder is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer, CLIPTokenizerFast

from mezzotint.errors import MezzotintError
from mezzotint.export.files.tokenizer_forms import check_forms

EMBEDDED = Path(__file__).parents[3] / "demo" / "checkpoint" / "tokenizer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(EMBEDDED, tmp_path / "tokenizer")


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def other_ids(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["a</w>"], vocabulary["b</w>"] = vocabulary["b</w>"], vocabulary["a</w>"]


def fewer_merges(content: dict[str, Any]) -> None:
    content["model"]["merges"] = content["model"]["merges"][:1000]


def no_lower_case(content: dict[str, Any]) -> None:
    content["normalizer"] = None


def no_words(content: dict[str, Any]) -> None:
    content["pre_tokenizer"] = {"type": "Whitespace"}


def no_ends_of_words(content: dict[str, Any]) -> None:
    content["model"]["end_of_word_suffix"] = None


@pytest.mark.parametrize("edit", [other_ids, fewer_merges, no_lower_case, no_words, no_ends_of_words])
def test_two_tokenizers_in_one_folder_are_an_error(edit: Callable[[dict[str, Any]], object], folder: Path) -> None:
    change(folder, edit)
    with pytest.raises(MezzotintError, match=r"holds two tokenizers: .* to tokenizer\.json, and .* to vocab\.json"):
        check_forms(folder)


@pytest.mark.parametrize("kind", [CLIPTokenizer, CLIPTokenizerFast])
def test_what_transformers_writes_is_one_tokenizer(kind: Any, folder: Path, tmp_path: Path) -> None:
    tokenizer = kind.from_pretrained(folder)
    tokenizer.add_tokens(["<cat>"])
    tokenizer.save_pretrained(tmp_path / "saved")
    shutil.copy(EMBEDDED / "vocab.json", tmp_path / "saved")
    shutil.copy(EMBEDDED / "merges.txt", tmp_path / "saved")
    check_forms(tmp_path / "saved")


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_one_form_alone_is_compared_with_nothing(name: str, folder: Path) -> None:
    change(folder, other_ids)
    (folder / name).unlink()
    check_forms(folder)
