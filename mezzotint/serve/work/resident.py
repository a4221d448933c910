"""How much memory a process holds."""

import os
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int:
    """Of this process, or of another by its number; 0 where the system has no /proc, or no such process."""
    try:
        pages = Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
