"""Words into a tokenizer's files, as textual inversion adds them: each a token of its own, with the next free id."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError

from .tokenizer_files import read_tokenizer

_ADDED, _CONFIG = "added_tokens.json", "tokenizer_config.json"


def free_ids(folder: Path, words: Sequence[str]) -> range:
    """The ids that `words` would get; MezzotintError for one that the tokenizer has already, or that is there twice."""
    backend = read_tokenizer(folder).backend
    known = next((word for word in words if backend.token_to_id(word) is not None), None)
    if known is not None or len(set(words)) < len(words):
        word = known or next(word for word in words if words.count(word) > 1)
        raise MezzotintError(f"the tokenizer has the word {word!r:.60} already; say another with FILE:WORD")
    first = backend.get_vocab_size(with_added_tokens=True)
    return range(first, first + len(words))


def add_words(folder: Path, words: Sequence[str]) -> range:
    """Add them to the tokenizer in `folder`, in place; their ids. MezzotintError as `free_ids`."""
    ids = free_ids(folder, words)
    _rewrite(folder / _ADDED, dict(zip(words, ids, strict=True)))
    config = _read(folder / _CONFIG)
    if isinstance(listed := config.get("added_tokens_decoder"), dict):
        entries = {str(index): _entry(word) for word, index in zip(words, ids, strict=True)}
        _rewrite(folder / _CONFIG, {"added_tokens_decoder": {**listed, **entries}})
    read_tokenizer(folder)  # or refuses: what was written has to be what is read
    return ids


def _entry(word: str) -> dict[str, Any]:
    """As transformers has it for a word that is no sign of the tokenizer's own."""
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "special"), False)
    return {"content": word, "normalized": True, **plain}


def _rewrite(path: Path, entries: dict[str, Any]) -> None:
    """Put `entries` over what the object in a file has; a file that is not there is an empty one."""
    merged = {**_read(path), **entries}
    path.write_text(json.dumps(merged, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not isinstance(data, dict):
        raise MezzotintError(f"{path} must hold a JSON object")
    return data
