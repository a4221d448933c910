"""Files that appear whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; a clean exit renames it to `path`, an exception removes it.

    No two calls have the same path, so that processes and threads may write one file at a time: the last one wins. It
    does not end as `path` does: what a kill leaves of it is never taken for a file of its kind.
    """
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")  # short, however long the name is
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):  # where this fails, writing it had failed before
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
