"""Calls of the text encoder, from prompts."""

from collections.abc import Sequence

from mezzotint.runtime import Bundle
from mezzotint.runtime.text.tokenizer import ClipTokenizer

from .trajectories import Call

__all__ = ["token_calls"]

_FALLBACK_PROMPTS = ("a photograph of an astronaut riding a horse", "")


def token_calls(bundle: Bundle, prompts: Sequence[str]) -> list[Call]:
    """One call for each of the first 16 prompts; two fixed prompts when there are none."""
    tokenizer = ClipTokenizer.load(bundle.path / "tokenizer")
    dtype = bundle.component("text_encoder").inputs[0].dtype
    texts = list(prompts[:16]) or list(_FALLBACK_PROMPTS)
    return [Call(0, {"input_ids": tokenizer.encode([text]).astype(dtype)}) for text in texts]
