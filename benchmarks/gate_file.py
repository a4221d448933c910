"""Conditions in a file: the thresholds of `make gate`, under version control.

fidelity = ["int8-openvino:psnr_db < 37"]        put where fidelity is measured
speed = ["int8-openvino:speedup.fp32 < 3"]       put where speed is
"""

import tomllib
from pathlib import Path

from mezzotint.runtime.errors import MezzotintError

__all__ = ["SECTIONS", "read_gate"]

SECTIONS = ("fidelity", "speed")


def read_gate(path: Path, sections: tuple[str, ...] = SECTIONS) -> list[str]:
    """The `--fail-if` conditions of `sections`; MezzotintError names what the file should hold and does not."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MezzotintError(
            f"{path} cannot be read as TOML ({error}); expected lists named fidelity and speed"
        ) from None
    for name, conditions in data.items():
        is_list = isinstance(conditions, list) and all(isinstance(text, str) for text in conditions)
        if name not in SECTIONS or not is_list:
            raise MezzotintError(f"{path}: {name!r} is unknown or no list of texts; expected {' and '.join(SECTIONS)}")
    return [text for section in sections for text in data.get(section, [])]
