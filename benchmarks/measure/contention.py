"""How much of the processors others took while something was timed.

A busy machine does not only spread times, it shifts them, and not alike for all: threads that wait by spinning, as
torch's do, lose many times more than threads that sleep. So a quiet spread alone does not make a time trustworthy.
"""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOREIGN_CPU_LIMIT", "CpuTimes", "foreign_cpu_share", "read_cpu_times"]

FOREIGN_CPU_LIMIT = 0.05
"""Beyond this share of all processors, a report warns."""

_STAT = Path("/proc/stat")
_IDLE, _IOWAIT = 3, 4  # columns of the line "cpu"; the first eight are all time there is


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since boot, summed over processors: in all, not idle, and not idle on behalf of this process."""

    total_s: float
    busy_s: float
    own_s: float


def read_cpu_times() -> CpuTimes | None:
    """Read them now; None where /proc/stat is not as on Linux. Time that a hypervisor stole counts as busy."""
    try:
        first = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    if first[:1] != ["cpu"] or len(first) < 9:
        return None
    ticks = [int(word) for word in first[1:9]]
    per_second = os.sysconf("SC_CLK_TCK")
    own = os.times()
    busy = sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]
    return CpuTimes(sum(ticks) / per_second, busy / per_second, own.user + own.system)


def foreign_cpu_share(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """The share of all processors' time between two readings that went to others, 0 to 1; None where unknown."""
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return min(1.0, max(0.0, foreign_s / (after.total_s - before.total_s)))
