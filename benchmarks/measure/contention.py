"""How much of the processors others took while something was timed.

A busy machine does not only spread times, it shifts them, and not alike for all: threads that wait by spinning, as
torch's do, lose many times more than threads that sleep. So a quiet spread alone does not make a time trustworthy.
"""

import os
from dataclasses import dataclass

FOREIGN_CPU_LIMIT = 0.05
"""Beyond this share of all processors, a report warns."""

_IDLE = ("idle", "iowait")
_COUNTED_TWICE = ("guest", "guest_nice")  # Linux adds a guest's time to the user's as well


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since boot, summed over processors: in all, not idle, and not idle on behalf of this process."""

    total_s: float
    busy_s: float
    own_s: float


def read_cpu_times() -> CpuTimes:
    """Read them now. Time that a hypervisor stole counts as busy."""
    import psutil  # not at the top: a worker's cold start would pay for it

    seconds = psutil.cpu_times()._asdict()
    total_s = sum(value for kind, value in seconds.items() if kind not in _COUNTED_TWICE)
    own = os.times()
    return CpuTimes(total_s, total_s - sum(seconds.get(kind, 0.0) for kind in _IDLE), own.user + own.system)


def foreign_cpu_share(before: CpuTimes, after: CpuTimes) -> float | None:
    """The share of all processors' time between two readings that went to others, 0 to 1; None when none went by."""
    if after.total_s <= before.total_s:
        return None
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return min(1.0, max(0.0, foreign_s / (after.total_s - before.total_s)))
