import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mezzotint.benchmarks.measure.contention import CpuTimes, foreign_cpu_share, read_cpu_times


@pytest.mark.parametrize(
    ("busy_s", "own_s", "share"),
    [(0.0, 0.0, 0.0), (4.0, 4.0, 0.0), (8.0, 4.0, 0.2), (20.0, 0.0, 1.0), (3.9, 4.0, 0.0)],
)
def test_what_is_busy_and_not_ours_is_foreign(busy_s: float, own_s: float, share: float) -> None:
    before = CpuTimes(100.0, 50.0, 7.0)
    assert foreign_cpu_share(before, CpuTimes(120.0, 50.0 + busy_s, 7.0 + own_s)) == pytest.approx(share)


def test_where_no_time_went_by_there_is_no_share() -> None:
    times = CpuTimes(1.0, 1.0, 1.0)
    assert foreign_cpu_share(times, times) is None


def test_the_times_are_the_kernels() -> None:
    """The first eight columns of the line "cpu" in /proc/stat are all time there is; the fourth and fifth are idle."""
    times = read_cpu_times()
    columns = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    per_second = os.sysconf("SC_CLK_TCK")
    assert times.total_s == pytest.approx(sum(columns) / per_second, rel=0.01)
    assert times.busy_s == pytest.approx((sum(columns) - columns[3] - columns[4]) / per_second, rel=0.05)


def test_another_process_that_spins_is_seen_and_our_own_work_is_not() -> None:
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = read_cpu_times()
        time.sleep(0.5)
        share = foreign_cpu_share(before, read_cpu_times())
    finally:
        other.kill()
        other.wait()
    assert share is not None
    assert share > 0.02  # half of one core of this many
    before = read_cpu_times()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    after = read_cpu_times()
    assert after.own_s - before.own_s == pytest.approx(0.3, abs=0.1)
