"""How much memory this process holds and has held, as the kernel and the GPU driver say it.

A figure that cannot be had is None, with the reason under its name; never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .gpu import process_vram_bytes

__all__ = ["Memory", "read_memory"]

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Bytes of this process: the largest resident set so far (VmHWM), the present one (VmRSS), and GPU memory."""

    peak_rss_bytes: int | None
    resting_rss_bytes: int | None
    peak_vram_bytes: int | None
    reasons: Mapping[str, str] = field(default_factory=dict)


def read_memory() -> Memory:
    """Read it now. Call after the work, while what it loaded is still held: engines keep what they took from the GPU's
    driver, so its present figure is the peak as well.

    VmHWM, not getrusage: ru_maxrss is inherited across fork and exec, so a large parent would show in a small child.
    """
    status = _status_bytes()
    vram, no_vram = process_vram_bytes()
    reasons = {} if no_vram is None else {"peak_vram_bytes": no_vram}
    for name, key in (("peak_rss_bytes", "VmHWM"), ("resting_rss_bytes", "VmRSS")):
        if key not in status:
            reasons[name] = f"{_STATUS} has no {key} on this system"
    return Memory(status.get("VmHWM"), status.get("VmRSS"), vram, reasons)


def _status_bytes() -> dict[str, int]:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.startswith(("VmHWM:", "VmRSS:")))
    return {key: int(value.split()[0]) * 1024 for key, value in pairs}
