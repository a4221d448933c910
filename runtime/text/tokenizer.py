"""CLIP's tokenizer: prompts to token ids (Radford et al. 2021; byte-level BPE of Sennrich et al. 2016).

A row of ids is BOS, the text's tokens, EOS, then padding up to the text encoder's window. The rules are those of
transformers' CLIPTokenizerFast: lower case, one space for any white space, words, single digits, runs of punctuation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from mezzotint.arrays import IntArray
from mezzotint.errors import MezzotintError

from .tokenizer_files import read_tokenizer

__all__ = ["ClipTokenizer"]


@dataclass(frozen=True)
class ClipTokenizer:
    """Make one with `load`."""

    backend: Tokenizer
    window: int  # ids a row, BOS and EOS included: 77 in Stable Diffusion 1 and 2
    bos_id: int
    eos_id: int
    pad_id: int

    @classmethod
    def load(cls, folder: Path | str) -> "ClipTokenizer":
        """The tokenizer of a checkpoint's folder: tokenizer_config.json, and tokenizer.json or vocab.json + merges.txt.

        Raises MezzotintError for files that are missing, broken, or not a CLIP tokenizer's.
        """
        files = read_tokenizer(Path(folder))
        return cls(files.backend, files.window, files.bos_id, files.eos_id, files.pad_id)

    def encode(self, texts: Sequence[str]) -> IntArray:
        """Token ids (B, window), int64; what does not fit the window is cut.

        Raises MezzotintError for text that is not Unicode.
        """
        ids = np.full((len(texts), self.window), self.pad_id, dtype=np.int64)  # (B, window)
        for row, text in zip(ids, texts, strict=True):
            row[:] = self.row(self.tokens(text)[: self.room])
        return ids

    @property
    def room(self) -> int:
        """How many tokens of text fit a row beside BOS and EOS."""
        return self.window - 2

    def row(self, tokens: Sequence[int]) -> IntArray:
        """The ids (window,) of at most `room` tokens, framed and padded."""
        ids = np.full(self.window, self.pad_id, dtype=np.int64)
        ids[: len(tokens) + 2] = [self.bos_id, *tokens, self.eos_id]
        return ids

    def tokens(self, text: str) -> list[int]:
        """The ids of one text, without BOS and EOS, of any length. MezzotintError for text that is not Unicode."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MezzotintError(f"the prompt {text!r:.60} is not Unicode text: {error.reason}") from error
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids
