"""The `parameters` text of AUTOMATIC1111's images: parsed as its interface parses it, and as settings of ours.

The last line is the parameters' where it has three pairs at least; "Negative prompt:" begins the second part.
"""

import json
import re
from typing import Any

from ..web.refusal import Refusal
from .names import find_sampling

_PAIR = re.compile(r'\s*([\w ()/\-+]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_LEAST_PAIRS = 3
_LONGEST = 200_000
_NUMBERS = {"Steps": ("steps", int), "Seed": ("seed", int), "CFG scale": ("guidance", float)}


def parse_infotext(text: str) -> dict[str, str]:
    """Its labels and values, all texts; "Size" becomes "Size-1" and "Size-2"."""
    *lines, last = text[:_LONGEST].strip().split("\n")
    pairs = _PAIR.findall(last)
    if len(pairs) < _LEAST_PAIRS:
        lines, pairs = [*lines, last], []
    prompt: list[str] = []
    negative: list[str] = []
    is_negative = False
    for line in lines:
        if line.strip().startswith("Negative prompt:"):
            is_negative, line = True, line.strip().removeprefix("Negative prompt:").strip()
        (negative if is_negative else prompt).append(line)
    found = {"Prompt": "\n".join(prompt).strip(), "Negative prompt": "\n".join(negative).strip()}
    for label, value in pairs:
        size = _SIZE.fullmatch(value.strip())
        if size is not None:
            found[f"{label.strip()}-1"], found[f"{label.strip()}-2"] = size.groups()
        else:
            found[label.strip()] = _unquoted(value.strip())
    return found


def settings_of(text: str) -> dict[str, Any]:
    """What of it our own form can hold, by our names; what is no number there, or no sampler of ours, is left out."""
    found = parse_infotext(text)
    settings: dict[str, Any] = {
        "prompt": found["Prompt"],
        "negative_prompt": found["Negative prompt"] or None,
        "prompt_syntax": "weighted",
    }
    for label, (name, kind) in _NUMBERS.items():
        try:
            settings[name] = kind(found[label])
        except (KeyError, ValueError):
            continue
    if "Size-1" in found and "Size-2" in found:
        settings |= {"width": int(found["Size-1"]), "height": int(found["Size-2"])}
    try:
        settings["scheduler"], settings["schedule"] = find_sampling(found.get("Sampler"), found.get("Schedule type"))
    except Refusal:
        return settings
    return settings


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
