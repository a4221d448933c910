"""Prompts to what a text encoder makes of them.

In the "plain" syntax a prompt is cut at the text encoder's window, as diffusers does it. In the "weighted" syntax (see
prompt_weights.py) it may have any length: its tokens are laid out in chunks of the window's width, each of which is
encoded alone, and the denoiser attends to all chunks side by side.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mezzotint.arrays import Array
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.family import EncodedText, TextStage

from .networks import names_adapters
from .prompt_weights import Fragment, parse_weights
from .tokenizer import ClipTokenizer

PROMPT_SYNTAXES = ("plain", "weighted")
_MOST_CHUNKS = 32  # (window 77) some 2,400 tokens; attention costs as much as they are many


@dataclass(frozen=True)
class Prompt:
    """A text, and how many of the text encoder's last layers are left out for it."""

    text: str
    clip_skip: int = 0


@dataclass(frozen=True)
class _Chunk:
    """At most a window of tokens, and the weight of each."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def is_weighted(self) -> bool:
        return any(weight != 1.0 for weight in self.weights)


def encode_prompts(
    session: Session, tokenizer: ClipTokenizer, stage: TextStage, prompts: Sequence[Prompt], syntax: str = "plain"
) -> list[EncodedText]:
    """What one text encoder says of each prompt; the number of tokens is a multiple of the window.

    Each distinct chunk is encoded once and alone, so that neither the batch nor its order changes a figure. Warns when
    a plain prompt is longer than the window. Raises MezzotintError for text that is not Unicode, for syntax that is not
    supported, for prompts of more than 32 chunks, and for a `clip_skip` that the graph has no output for.
    """
    outputs = [stage.tokens(session.component, prompt.clip_skip) for prompt in prompts]
    chunked = [_chunks(tokenizer, prompt.text, syntax) for prompt in prompts]
    known: dict[tuple[int, ...], Mapping[str, Array]] = {}

    def encode(tokens: tuple[int, ...], output: str) -> EncodedText:
        if tokens not in known:
            known[tokens] = _run(session, tokenizer, tokens)
        said = known[tokens]
        return EncodedText(said[output][0], None if stage.pooled is None else said[stage.pooled][0])

    def weigh(chunk: _Chunk, output: str) -> EncodedText:
        """Away from, or towards, what the encoder makes of no text at all; a weight of 1 changes nothing."""
        text = encode(chunk.tokens, output)
        if not chunk.is_weighted:
            return text
        weights = np.ones((len(text.tokens), 1), dtype=np.float32)  # (window, 1); BOS, EOS and padding weigh 1
        weights[1 : 1 + len(chunk.weights), 0] = chunk.weights
        empty = encode((), output).tokens
        return replace(text, tokens=empty + weights * (text.tokens - empty))

    return [
        _joined([weigh(chunk, output) for chunk in chunks]) for chunks, output in zip(chunked, outputs, strict=True)
    ]


def _joined(chunks: Sequence[EncodedText]) -> EncodedText:
    """One text of several windows; the vector of the whole is the first one's."""
    return replace(chunks[0], tokens=np.concatenate([chunk.tokens for chunk in chunks]))


def _run(session: Session, tokenizer: ClipTokenizer, tokens: Sequence[int]) -> Mapping[str, Array]:
    (ids,) = session.component.inputs
    row = tokenizer.row(tokens)[np.newaxis].astype(ids.dtype)  # (1, window) int32 from Optimum
    return session.run({ids.name: row})


def _chunks(tokenizer: ClipTokenizer, prompt: str, syntax: str) -> list[_Chunk]:
    if syntax == "weighted":
        return _weighted_chunks(tokenizer, prompt)
    if syntax != "plain":
        raise MezzotintError(f"there is no prompt syntax {syntax!r}; choose one of {', '.join(PROMPT_SYNTAXES)}")
    if names_adapters(prompt):
        warnings.warn(
            f"the prompt {prompt!r:.60} names adapters, which the prompt syntax 'plain' reads as words; name them with "
            "`loras`, or take the prompt syntax 'weighted'",
            stacklevel=2,
        )
    tokens = tokenizer.tokens(prompt)
    cut = len(tokens) - tokenizer.room
    if cut > 0:
        warnings.warn(
            f"the prompt {prompt!r:.60} is {cut} tokens too long; its end was cut (the prompt syntax 'weighted' takes "
            "prompts of any length)",
            stacklevel=2,
        )
    kept = tuple(tokens[: tokenizer.room])
    return [_Chunk(kept, (1.0,) * len(kept))]


def _weighted_chunks(tokenizer: ClipTokenizer, prompt: str) -> list[_Chunk]:
    room = tokenizer.room
    if room < 1:
        raise MezzotintError(f"the text encoder's window of {tokenizer.window} tokens has no room for text")
    chunks: list[_Chunk] = []
    for section in parse_weights(prompt):
        tokens, weights = _weighted_tokens(tokenizer, section)
        starts = range(0, max(len(tokens), 1), room)
        chunks += [_Chunk(tuple(tokens[at : at + room]), tuple(weights[at : at + room])) for at in starts]
    if len(chunks) > _MOST_CHUNKS:
        raise MezzotintError(
            f"the prompt {prompt!r:.60} fills {len(chunks)} windows of tokens, expected at most {_MOST_CHUNKS}"
        )
    return chunks


def _weighted_tokens(tokenizer: ClipTokenizer, section: Sequence[Fragment]) -> tuple[list[int], list[float]]:
    tokens: list[int] = []
    weights: list[float] = []
    for fragment in section:
        found = tokenizer.tokens(fragment.text)
        tokens += found
        weights += [fragment.weight] * len(found)
    return tokens, weights
