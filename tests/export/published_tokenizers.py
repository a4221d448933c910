"""CLIP's tokenizer folders as they were published: what the same tokens look like in files of different years."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

Config = dict[str, Any]

START, END = "<|startoftext|>", "<|endoftext|>"
WINDOW = 77
_TOKENS: Mapping[str, str] = MappingProxyType({"bos_token": START, "eos_token": END, "unk_token": END})


@dataclass(frozen=True, kw_only=True)
class PublishedTokenizer:
    """`padding` is what tokenizer_config.json pads with, `mapped_padding` what special_tokens_map.json says.

    Tokens are objects or, where `is_plain`, text; `maps_plain` says it of the second file alone. `decoded` are the
    tokens that the first lists with their ids, and `more` its other keys.
    """

    padding: str = END
    mapped_padding: object = END
    is_plain: bool = False
    maps_plain: bool = False
    decoded: tuple[str, ...] = ()
    has_added_tokens: bool = False  # in a file of their own, though the vocabulary has them
    more: Config = field(default_factory=dict)

    def write(self, folder: Path, vocabulary: Path) -> None:
        """Write the folder with the words of another one, whose ids are smaller than CLIP's own."""
        folder.mkdir(parents=True)
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(vocabulary / name, folder / name)
        ids = json.loads((vocabulary / "vocab.json").read_text(encoding="utf-8"))
        marked = {"__type": "AddedToken"}
        config: Config = {
            "add_prefix_space": False,
            **{key: text if self.is_plain else {**marked, **_object(text)} for key, text in _TOKENS.items()},
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": WINDOW,
            "pad_token": self.padding,
            "tokenizer_class": "CLIPTokenizer",
            **self.more,
        }
        if self.decoded:
            special = not self.has_added_tokens
            config["added_tokens_decoder"] = {
                str(ids[text]): {**_object(text), "special": special or text == "!"} for text in self.decoded
            }
        tokens = {key: text if self.maps_plain else _object(text) for key, text in _TOKENS.items()}
        _write(folder / "tokenizer_config.json", config)
        _write(folder / "special_tokens_map.json", {**tokens, "pad_token": self.mapped_padding})
        if self.has_added_tokens:
            _write(folder / "added_tokens.json", {text: ids[text] for text in (*self.decoded, END, START)})


def _object(text: str) -> Config:
    """A token with what may stand around it."""
    return {"content": text, "lstrip": False, "normalized": text != "!", "rstrip": False, "single_word": False}


def _write(path: Path, data: Config) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


_OLD: Config = {"name_or_path": "./tokenizer", "special_tokens_map_file": "./special_tokens_map.json"}
_CLEAN: Config = {"clean_up_tokenization_spaces": True}
_WITH_FILE: Config = {**_CLEAN, "additional_special_tokens": [], "tokenizer_file": None}

# Before transformers 4.28, of 4.28 to 4.33, and since; what 4.34 wrote has two keys more.
FIRST_YEARS = PublishedTokenizer(more=_OLD)
FIRST_YEARS_SD2 = PublishedTokenizer(more=_OLD, mapped_padding="!")
OF_2023 = PublishedTokenizer(more=_CLEAN)
OF_2023_SECOND = PublishedTokenizer(more=_CLEAN, padding="!", mapped_padding="!")
DECODED = PublishedTokenizer(
    more=_CLEAN, is_plain=True, decoded=(START, END), mapped_padding={**_object(END), "normalized": False}
)
DECODED_SECOND = PublishedTokenizer(
    more=_CLEAN, is_plain=True, decoded=("!", START, END), padding="!", mapped_padding="!"
)
WITH_FILE = PublishedTokenizer(more=_WITH_FILE, is_plain=True, maps_plain=True, decoded=(START, END))
ADDED = PublishedTokenizer(more=_WITH_FILE, is_plain=True, maps_plain=True, decoded=(START, END), has_added_tokens=True)
ADDED_SECOND = PublishedTokenizer(
    more=_WITH_FILE,
    is_plain=True,
    maps_plain=True,
    decoded=("!", START, END),
    padding="!",
    mapped_padding="!",
    has_added_tokens=True,
)
OF_2025 = PublishedTokenizer(
    more={"clean_up_tokenization_spaces": False, "extra_special_tokens": {}}, is_plain=True, decoded=(START, END)
)
