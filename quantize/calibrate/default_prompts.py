"""The prompts to calibrate on where nobody passed any: people, animals, scenes, objects and styles, short and long."""

from pathlib import Path

from mezzotint.runtime.text.prompts import read_prompts

DEFAULT_PROMPTS = Path(__file__).parents[1] / "assets" / "prompts.txt"


def default_prompts() -> tuple[str, ...]:
    """All of them, in blocks of one subject: a number of prompts that are spread evenly over the list has all."""
    return read_prompts(DEFAULT_PROMPTS)
