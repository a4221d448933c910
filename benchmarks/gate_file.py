"""Conditions in a file: the thresholds of `make gate`, under version control.

fidelity = ["int8-openvino:psnr_db < 37"]        put where fidelity is measured
speed = ["int8-openvino:speedup.fp32 < 2.2"]     put where speed is
speed_amx = ["int8-openvino:speedup.fp32 < 3"]   too, where the processor has AMX: its INT8 is several times faster
"""

import tomllib
from pathlib import Path

from mezzotint.engines.cpu import cpu_features
from mezzotint.errors import MezzotintError

SECTIONS = ("fidelity", "speed", "speed_amx")


def sections_for(*, fidelity: bool, speed: bool) -> tuple[str, ...]:
    """Those that apply to what is measured, on this processor."""
    wanted = {"fidelity": fidelity, "speed": speed, "speed_amx": speed and "amx_int8" in cpu_features()}
    return tuple(name for name in SECTIONS if wanted[name])


def read_gate(path: Path, sections: tuple[str, ...] = SECTIONS) -> list[str]:
    """The `--fail-if` conditions of `sections`; MezzotintError names what the file should hold and does not."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MezzotintError(
            f"{path} cannot be read as TOML ({error}); expected lists named {', '.join(SECTIONS)}"
        ) from None
    for name, conditions in data.items():
        is_list = isinstance(conditions, list) and all(isinstance(text, str) for text in conditions)
        if name not in SECTIONS or not is_list:
            raise MezzotintError(f"{path}: {name!r} is unknown or no list of texts; expected {', '.join(SECTIONS)}")
    return [text for section in sections for text in data.get(section, [])]
