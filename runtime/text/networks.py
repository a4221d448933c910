"""Adapters in prompts, as users of web interfaces write them: `<lora:name:0.8>`, anywhere; without a number it is 1."""

import re

from mezzotint.errors import MezzotintError

_LORA = re.compile(r"\s*<(?:lora|lyco):(?P<name>[^<>:]+)(?::(?P<scale>[^<>:]+))?>", re.IGNORECASE)


def names_adapters(prompt: str) -> bool:
    """Whether there are any, well written or not."""
    return _LORA.search(prompt) is not None


def take_loras(prompt: str) -> tuple[str, dict[str, float]]:
    """The prompt without them, and the scale of each.

    MezzotintError for a scale that is no number, and for one adapter twice.
    """
    scales: dict[str, float] = {}
    for found in _LORA.finditer(prompt):
        name, text = found["name"].strip(), found["scale"] or "1"
        try:
            scale = float(text)
        except ValueError:
            raise MezzotintError(
                f"the prompt asks for {found[0].strip()!r:.60}, expected a number after {name}"
            ) from None
        if name in scales:
            raise MezzotintError(f"the prompt asks for {name!r:.60} twice; give its scale once")
        scales[name] = scale
    return _LORA.sub("", prompt), scales
