"""Prompts to the embeddings that the UNet attends to.

In the "plain" syntax a prompt is cut at the text encoder's window, as diffusers does it. In the "weighted" syntax (see
prompt_weights.py) it may have any length: its tokens are laid out in chunks of the window's width, each of which is
encoded alone, and the UNet attends to all chunks side by side.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError

from ..clip_skip import embeddings_output
from .prompt_weights import Fragment, parse_weights
from .tokenizer import ClipTokenizer

__all__ = ["PROMPT_SYNTAXES", "encode_prompts", "stack_embeddings"]

PROMPT_SYNTAXES = ("plain", "weighted")
_MOST_CHUNKS = 32  # (window 77) some 2,400 tokens; attention costs as much as they are many


@dataclass(frozen=True)
class _Chunk:
    """At most a window of tokens, and the weight of each."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def is_weighted(self) -> bool:
        return any(weight != 1.0 for weight in self.weights)


def encode_prompts(
    session: Session, tokenizer: ClipTokenizer, prompts: Sequence[str], syntax: str = "plain", clip_skip: int = 0
) -> FloatArray:
    """Embeddings (B, tokens, width) of the prompts without the last `clip_skip` layers; `tokens` is a multiple of the
    window.

    Each distinct chunk is encoded once and alone, so that neither the batch nor its order changes a figure. Warns when
    a plain prompt is longer than the window. Raises MezzotintError for text that is not Unicode, for syntax that is not
    supported, for prompts of more than 32 chunks, and for a `clip_skip` that the graph has no output for.
    """
    output = embeddings_output(session.component, clip_skip)
    chunked = [_chunks(tokenizer, prompt, syntax) for prompt in prompts]
    known: dict[tuple[int, ...], FloatArray] = {}

    def encode(tokens: tuple[int, ...]) -> FloatArray:
        if tokens not in known:
            known[tokens] = _run(session, tokenizer, tokens, output)
        return known[tokens]

    def weigh(chunk: _Chunk) -> FloatArray:
        """Away from, or towards, what the encoder makes of no text at all; a weight of 1 changes nothing."""
        embedding = encode(chunk.tokens)
        if not chunk.is_weighted:
            return embedding
        weights = np.ones((len(embedding), 1), dtype=np.float32)  # (window, 1); BOS, EOS and padding weigh 1
        weights[1 : 1 + len(chunk.weights), 0] = chunk.weights
        empty = encode(())
        return empty + weights * (embedding - empty)

    return stack_embeddings([np.concatenate([weigh(chunk) for chunk in chunks]) for chunks in chunked])


def stack_embeddings(embeddings: Sequence[FloatArray]) -> FloatArray:
    """One array (B, tokens, width) of embeddings (tokens_i, width), each of which is repeated to the common length.

    Attention over keys that are all there r times is attention over them once, so a prompt means the same beside a
    longer one as alone. Raises MezzotintError when the lengths have no common multiple of a bearable size.
    """
    lengths = [len(embedding) for embedding in embeddings]
    common = math.lcm(*lengths)
    if common > _MOST_CHUNKS * min(lengths) and len(set(lengths)) > 1:
        different = ", ".join(map(str, sorted(set(lengths))))
        raise MezzotintError(f"prompts of {different} tokens cannot be drawn in one batch; draw them apart")
    return np.stack([np.tile(embedding, (common // len(embedding), 1)) for embedding in embeddings])


def _run(session: Session, tokenizer: ClipTokenizer, tokens: Sequence[int], output: str) -> FloatArray:
    ids = tokenizer.row(tokens)[np.newaxis].astype(session.component.inputs[0].dtype)  # (1, window) int32 from Optimum
    embedding: FloatArray = session.run({"input_ids": ids})[output][0]
    return embedding


def _chunks(tokenizer: ClipTokenizer, prompt: str, syntax: str) -> list[_Chunk]:
    if syntax == "weighted":
        return _weighted_chunks(tokenizer, prompt)
    if syntax != "plain":
        raise MezzotintError(f"there is no prompt syntax {syntax!r}; choose one of {', '.join(PROMPT_SYNTAXES)}")
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
