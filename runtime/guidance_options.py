"""Options of guidance that a family has no use for are refused: they would change nothing, in silence."""

from collections.abc import Sequence

from mezzotint.bundle.defaults import ALL_OF_THE_RUN
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family, Guidance

from .settings import Settings


def refuse_guidance_options(family: Family, settings: Sequence[Settings]) -> None:
    """Raise MezzotintError for what acts on a negative half where the denoiser is told the scale instead."""
    if family.guidance is not Guidance.EMBEDDED:
        return
    first = settings[0]
    asked = {
        "negative prompt": any(one.negative_prompt for one in settings),
        "guidance_rescale": first.guidance_rescale != 0.0,
        "guidance_interval": tuple(first.guidance_interval or ALL_OF_THE_RUN) != ALL_OF_THE_RUN,
    }
    given = [name for name, is_given in asked.items() if is_given]
    if given:
        raise MezzotintError(
            f"{family.name} has no use for a {given[0]}: its denoiser is told the guidance scale, and predicts once; "
            f"leave the {given[0]} away"
        )
