"""Where the project keeps what it can make again: one folder for each purpose, below the user's cache folder.

Deleting any of them costs time and nothing else. The place is that of the XDG base directory specification, which says
to ignore a relative path in the variable.
"""

import os
from pathlib import Path


def cache_folder(purpose: str) -> Path | None:
    """`$XDG_CACHE_HOME/mezzotint/purpose`, else below ~/.cache; None for a user without home. Nothing is created."""
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        home = stated if stated.is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # no HOME, and no entry in the list of users
        return None
    return home / "mezzotint" / purpose


def usable_folder(folder: Path | None) -> Path | None:
    """`folder`, made if need be; None where that fails, as in a read-only home: then nothing is kept."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
