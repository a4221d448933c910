"""Memory that Python no longer holds, given back to the system.

glibc keeps what was freed in pieces for later. After a large session that can be as much as the weights themselves,
and the next one's weights come on top of it.
"""

import ctypes
import gc


def give_back_memory() -> None:
    """Collect garbage, and let glibc return its free pages."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Let glibc return its free pages; other allocators know no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
