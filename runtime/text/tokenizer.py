"""CLIP's tokenizer: prompts to token ids (Radford et al. 2021; byte-level BPE of Sennrich et al. 2016).

A row of ids is BOS, the text's tokens, EOS, then padding up to the text encoder's window. The rules are those of
transformers' CLIPTokenizerFast: lower case, one space for any white space, words, single digits, runs of punctuation.
docs/prompts.md says why not those of its older CLIPTokenizer. A word that textual inversion gave several vectors stands
for all of them, as in diffusers.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from mezzotint.arrays import IntArray
from mezzotint.errors import MezzotintError

from .tokenizer_files import read_tokenizer


@dataclass(frozen=True)
class ClipTokenizer:
    """Make one with `load`."""

    backend: Tokenizer
    window: int  # ids a row, BOS and EOS included: 77 in Stable Diffusion 1 and 2
    bos_id: int
    eos_id: int
    pad_id: int
    multi_vector: Mapping[str, str] = field(default_factory=dict)  # a word, and the words that stand for its vectors
    rows: int | None = None  # of the text encoder's table, which has one for each id below; None is not known

    @classmethod
    def load(cls, folder: Path | str, rows: int | None = None) -> "ClipTokenizer":
        """The tokenizer of a checkpoint's folder: tokenizer_config.json, and tokenizer.json or vocab.json + merges.txt.

        Raises MezzotintError for files that are missing, broken, or not a CLIP tokenizer's, and for signs of the start,
        the end and padding that the text encoder has no row for.
        """
        files = read_tokenizer(Path(folder))
        words = _multi_vector(files.backend)
        tokenizer = cls(files.backend, files.window, files.bos_id, files.eos_id, files.pad_id, words, rows)
        tokenizer._check_rows((files.bos_id, files.eos_id, files.pad_id))
        return tokenizer

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
        """The ids of one text, without BOS and EOS, of any length.

        MezzotintError for text that is not Unicode, and for a word that the text encoder has no row for.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MezzotintError(f"the prompt {text!r:.60} is not Unicode text: {error.reason}") from error
        encoded = self.backend.encode(text, add_special_tokens=False)
        if self.multi_vector:
            expanded = self._with_all_vectors(text, encoded.tokens)
            if expanded != text:
                encoded = self.backend.encode(expanded, add_special_tokens=False)
        ids: list[int] = encoded.ids
        self._check_rows(ids)
        return ids

    def _check_rows(self, ids: Sequence[int]) -> None:
        """Engines do not refuse an id beyond the table: some of them read whatever lies behind it."""
        beyond = next((one for one in ids if self.rows is not None and one >= self.rows), None)
        if beyond is not None:
            raise MezzotintError(
                f"the tokenizer gives {self.backend.id_to_token(beyond)!r:.60} the id {beyond}, and the text encoder "
                f"has {self.rows} rows (vocab_size); take both from one checkpoint, or leave the word away"
            )

    def _with_all_vectors(self, text: str, found: Sequence[str]) -> str:
        """`<cat>` as `<cat> <cat>_1 <cat>_2`: what diffusers' `maybe_convert_prompt` does, in the order of the text."""
        for token in dict.fromkeys(found):
            if token in self.multi_vector:
                text = text.replace(token, self.multi_vector[token])
        return text


def _multi_vector(backend: Tokenizer) -> dict[str, str]:
    """The added tokens that others continue, named `token_1` and so on; the words that stand for all of each."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    return {token: " ".join([token, *_continued(token, added)]) for token in added if f"{token}_1" in added}


def _continued(token: str, added: Set[str]) -> Iterator[str]:
    for number in count(1):
        part = f"{token}_{number}"
        if part not in added:
            return
        yield part
