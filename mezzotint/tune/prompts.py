"""Which prompts a search sees, and which are kept for confirming what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mezzotint.errors import MezzotintError
from mezzotint.quantize.calibrate.trajectories import spread

FIRST_SEED = 3000  # other noise than calibration, `optimize` and benchmarks take
FEWEST = 4  # of either kind: with less a median says nothing


Prompt: TypeAlias = tuple[str, int]
"""A prompt and the seed of its noise."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """No prompt, and no seed, is in both."""

    search: tuple[Prompt, ...]
    confirm: tuple[Prompt, ...]


def split_prompts(prompts: Sequence[str], search: int, confirm: int) -> Split:
    """`confirm` of the prompts, evenly spread, for confirming, and `search` of the others.

    Where there are fewer, either gets its share. MezzotintError for fewer than 4 of a kind.
    """
    prompts = tuple(dict.fromkeys(prompts))
    if len(prompts) < search + confirm:
        confirm = len(prompts) * confirm // (search + confirm)
        search = len(prompts) - confirm
    if min(search, confirm) < FEWEST:
        raise MezzotintError(
            what=f"{len(prompts)} different prompts leave {search} for the search and {confirm} to confirm it",
            expected=f"at least {FEWEST} of each",
            advice="pass a file of more prompts",
        )
    confirmed = set(spread(len(prompts), confirm))
    rest = [place for place in range(len(prompts)) if place not in confirmed]
    searched = [rest[place] for place in spread(len(rest), search)]
    return Split(
        search=tuple((prompts[place], FIRST_SEED + place) for place in searched),
        confirm=tuple((prompts[place], FIRST_SEED + place) for place in sorted(confirmed)),
    )
