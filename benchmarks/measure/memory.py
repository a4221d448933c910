"""How much memory this process holds and has held, as the kernel and the GPU driver say it.

A figure that cannot be had is None, with the reason under its name; never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..machine.gpu import process_vram_bytes

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Bytes of this process: the largest resident set so far (Linux' VmHWM), the present one, and GPU memory."""

    peak_rss_bytes: int | None
    resting_rss_bytes: int
    peak_vram_bytes: int | None
    reasons: Mapping[str, str] = field(default_factory=dict)


def read_memory() -> Memory:
    """Read it now. Call after the work, while what it loaded is still held: engines keep what they took from the GPU's
    driver, so its present figure is the peak as well.

    VmHWM, which psutil does not have, and not getrusage: ru_maxrss is inherited across fork and exec, so a large parent
    would show in a small child.
    """
    import psutil  # not at the top: a worker's cold start would pay for it

    vram, no_vram = process_vram_bytes()
    resting = psutil.Process().memory_info().rss
    peak = _peak_bytes()  # last: what comes before it may be the peak
    reasons = {} if no_vram is None else {"peak_vram_bytes": no_vram}
    if peak is None:
        reasons["peak_rss_bytes"] = f"{_STATUS} has no VmHWM on this system"
    return Memory(peak, resting, vram, reasons)


def _peak_bytes() -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
