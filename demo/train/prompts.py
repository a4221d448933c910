"""The prompts of an evaluation: pictures that the model was trained on, in words, each on a background at random."""

from dataclasses import dataclass
from random import Random

from mezzotint.errors import MezzotintError

from .captions import FORMS, caption_in_form
from .config import BACKGROUNDS
from .pictures import Pictures

EVALUATED = {"focus": ("focus",), "rest": ("rest",), "all": ("focus", "rest")}  # by the name on the command line
_FORM = FORMS[1]


@dataclass(frozen=True)
class Prompt:
    """The text, the index of the picture that it asks for, and that of the background."""

    text: str
    picture: int
    background: int


def choose_prompts(pictures: Pictures, concepts: str, count: int, seed: int) -> tuple[Prompt, ...]:
    """`count` different pictures of the concepts, one of EVALUATED, each with a background."""
    rng = Random(seed)
    pool = pictures.of_groups(*EVALUATED[concepts]).tolist()
    if not 1 <= count <= len(pool):
        raise MezzotintError(f"got {count} prompts to draw, expected 1 to {len(pool)}, the pictures of these concepts")
    backgrounds = tuple(BACKGROUNDS)
    chosen = [(picture, rng.randrange(len(backgrounds))) for picture in rng.sample(pool, count)]
    return tuple(
        Prompt(
            caption_in_form(_FORM, pictures.concepts[picture].name, pictures.styles[picture], backgrounds[background]),
            picture,
            background,
        )
        for picture, background in chosen
    )
