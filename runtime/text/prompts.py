"""Prompt files: UTF-8, one prompt a line; blank lines are skipped."""

from pathlib import Path

from mezzotint.errors import MezzotintError

_MAX_BYTES = 16 << 20


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a file in their order; MezzotintError when it cannot be read or holds none."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MezzotintError(f"{path} is larger than {_MAX_BYTES} bytes; expected one prompt a line")
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would also split at U+2028 and its like
    except (OSError, UnicodeDecodeError) as error:
        raise MezzotintError(f"{path} cannot be read as prompts ({error}); expected UTF-8, one prompt a line") from None
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise MezzotintError(f"{path} has no prompts; expected at least one line of text")
    return prompts
