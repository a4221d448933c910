"""Prompts to conditions: each text encoder of the family in turn, and what the family makes of their answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mezzotint.bundle.manifest import Component
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.condition import Condition
from mezzotint.families.family import EncodedText, Family, Wanted
from mezzotint.families.micro_conditioning import MicroConditioning, Pair

from .micro_conditioning import MICRO_OPTIONS
from .settings import Settings
from .text.encoding import Prompt, encode_prompts
from .text.tokenizer import ClipTokenizer


@dataclass(frozen=True)
class Asked:
    """A row of a condition: a prompt, or None for no text at all, and what the call wants besides."""

    prompt: Prompt | None
    wanted: Wanted


def asked_of(
    settings: Sequence[Settings], native_side: int, guidance: float, *, with_negative: bool, none_is_nothing: bool
) -> list[Asked]:
    """Rows for the prompts of settled `settings`, then for their negative prompts if `with_negative`.

    A negative prompt of None is the empty text or, if `none_is_nothing`, no text at all. `clip_skip` is not for them,
    as in diffusers.
    """

    def wanted(one: Settings, *, is_negative: bool) -> Wanted:
        return Wanted(
            height=one.height or native_side,
            width=one.width or native_side,
            guidance=guidance,
            micro=_micro_conditioning(one, is_negative=is_negative),
            is_negative=is_negative,
        )

    def rows() -> Iterator[Asked]:
        for one in settings:
            yield Asked(Prompt(one.prompt, one.clip_skip), wanted(one, is_negative=False))
        for one in settings if with_negative else ():
            is_nothing = one.negative_prompt is None and none_is_nothing
            prompt = None if is_nothing else Prompt(one.negative_prompt or "")
            yield Asked(prompt, wanted(one, is_negative=True))

    return list(rows())


def refuse_unknown_options(family: Family, settings: Settings) -> None:
    """MezzotintError for a setting that models of this family are not told."""
    for name in MICRO_OPTIONS:
        value = getattr(settings, name)
        if value is not None and name not in family.options:
            raise MezzotintError(f"{family.name} takes no {name}, got {value!r:.40}; leave it away")


def encode_conditions(
    family: Family,
    sessions: Mapping[str, Session],
    tokenizers: Mapping[str, ClipTokenizer],
    asked: Sequence[Asked],
    denoiser: Component,
    syntax: str = "plain",
) -> list[Condition]:
    """One condition of one row for each; each text encoder is opened once for all of them.

    `sessions` are by component, `tokenizers` by folder. At least one has a prompt. Raises MezzotintError as
    `encode_prompts` does, and for a prompt to a family that reads none.
    """
    prompts = [one.prompt for one in asked if one.prompt is not None]
    unread = next((prompt.text for prompt in prompts if prompt.text), None)
    if not family.texts and unread is not None:
        raise MezzotintError(f"{family.name} takes no prompt, got {unread!r:.60}; pass an empty one")
    encoded = [
        _rows(asked, encode_prompts(sessions[stage.component], tokenizers[stage.tokenizer], stage, prompts, syntax))
        for stage in family.texts
    ]
    return [
        family.condition([rows[index] for rows in encoded], one.wanted, denoiser) for index, one in enumerate(asked)
    ]


def _rows(asked: Sequence[Asked], texts: Sequence[EncodedText]) -> list[EncodedText]:
    """The texts of those who asked for one, in order, and zeros of the first one's length for the others."""
    nothing, given = texts[0].zeros(), iter(texts)
    return [nothing if one.prompt is None else next(given) for one in asked]


def _micro_conditioning(settings: Settings, *, is_negative: bool) -> MicroConditioning:
    """What goes with the prompt; or with the negative prompt, which is the prompt's where nobody chose another."""
    if not is_negative:
        return MicroConditioning(
            original_size=settings.original_size,
            crops_coords_top_left=settings.crops_coords_top_left,
            target_size=settings.target_size,
            aesthetic_score=settings.aesthetic_score,
        )
    return MicroConditioning(
        original_size=_first(settings.negative_original_size, settings.original_size),
        crops_coords_top_left=_first(settings.negative_crops_coords_top_left, settings.crops_coords_top_left),
        target_size=_first(settings.negative_target_size, settings.target_size),
        aesthetic_score=settings.negative_aesthetic_score,
    )


def _first(own: Pair | None, other: Pair | None) -> Pair | None:
    return other if own is None else own
