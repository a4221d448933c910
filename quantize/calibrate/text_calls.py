"""Calls of the text encoders, from prompts."""

from collections.abc import Sequence

from mezzotint.families.lineup import family_of
from mezzotint.runtime import Bundle
from mezzotint.runtime.text.of_bundle import rows_of
from mezzotint.runtime.text.tokenizer import ClipTokenizer

from .trajectories import Call

_FALLBACK_PROMPTS = ("a photograph of an astronaut riding a horse", "")


def token_calls(bundle: Bundle, component: str, prompts: Sequence[str], count: int) -> list[Call]:
    """One call of a text encoder for each of the first `count` prompts; two fixed prompts when there are none."""
    stage = next(stage for stage in family_of(bundle).texts if stage.component == component)
    tokenizer = ClipTokenizer.load(bundle.path / stage.tokenizer, rows_of(stage, bundle.config))
    (spec,) = bundle.component(component).inputs
    texts = list(prompts[:count]) or list(_FALLBACK_PROMPTS)
    return [Call(0, {spec.name: tokenizer.encode([text]).astype(spec.dtype)}) for text in texts]
