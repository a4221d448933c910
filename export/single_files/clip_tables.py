"""CLIP's tokenizer, written out from its list of merges.

The list (merges.txt.gz, its licence beside it) is that of Radford et al. 2021. The vocabulary follows from it:
the 256 bytes, the same ones at the end of a word, what each merge makes, and the two special tokens.
"""

import gzip
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WINDOW: Final = 77
_HEADER = "#version: 0.2"
_END = "</w>"


def write_tokenizer(folder: Path, pad_token: str) -> None:
    """Write a tokenizer folder as CLIP's is published, padding with `pad_token`."""
    folder.mkdir(parents=True)
    (folder / "merges.txt").write_bytes(merges_text())
    vocabulary = json.dumps(vocabulary_of(merges_text().decode("utf-8")), indent=2, ensure_ascii=False)
    (folder / "vocab.json").write_text(vocabulary + "\n", encoding="utf-8")
    specials = {"bos_token": BOS, "eos_token": EOS, "pad_token": pad_token, "unk_token": EOS}
    config = {
        **specials,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": WINDOW,
        "tokenizer_class": "CLIPTokenizer",
    }
    for name, content in (("tokenizer_config.json", config), ("special_tokens_map.json", specials)):
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@cache
def merges_text() -> bytes:
    """The content of CLIP's merges.txt: a header, and a merge a line."""
    return gzip.decompress((files(__package__) / "templates" / "merges.txt.gz").read_bytes())


def vocabulary_of(merges: str) -> dict[str, int]:
    """Each token of CLIP and its id."""
    lines = merges.rstrip("\n").split("\n")
    if lines[0] != _HEADER:
        raise ValueError(f"the list of merges begins with {lines[0]!r}, expected {_HEADER}")
    characters = byte_characters()
    ends = (character + _END for character in characters)
    merged = (line.replace(" ", "") for line in lines[1:])
    return {token: index for index, token in enumerate([*characters, *ends, *merged, BOS, EOS])}


def byte_characters() -> list[str]:
    """A printable character for each of the 256 bytes, those that are printable themselves first."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = len(set(range(0x100)) - set(printable))
    return [chr(code) for code in (*printable, *range(0x100, 0x100 + others))]
