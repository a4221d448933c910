"""Prompts to conditions: each text encoder of the family in turn, and what the family makes of their answers."""

from collections.abc import Mapping, Sequence

from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.condition import Condition
from mezzotint.families.family import Family, Wanted

from .text.encoding import Prompt, encode_prompts
from .text.tokenizer import ClipTokenizer


def encode_conditions(
    family: Family,
    sessions: Mapping[str, Session],
    tokenizers: Mapping[str, ClipTokenizer],
    prompts: Sequence[Prompt],
    wanted: Wanted,
    syntax: str = "plain",
) -> list[Condition]:
    """One condition of one row for each prompt; each text encoder is opened once for all of them.

    `sessions` are by component, `tokenizers` by folder. Raises MezzotintError as `encode_prompts` does, and for a
    prompt to a family that reads none.
    """
    unread = next((prompt.text for prompt in prompts if prompt.text), None)
    if not family.texts and unread is not None:
        raise MezzotintError(f"{family.name} takes no prompt, got {unread!r:.60}; pass an empty one")
    encoded = [
        encode_prompts(sessions[stage.component], tokenizers[stage.tokenizer], stage, prompts, syntax)
        for stage in family.texts
    ]
    return [family.condition([texts[index] for texts in encoded], wanted) for index in range(len(prompts))]
