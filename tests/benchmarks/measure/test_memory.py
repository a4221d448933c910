import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.benchmarks.machine.gpu import gpu_name, process_vram_bytes
from mezzotint.benchmarks.measure.memory import read_memory


def test_the_present_figure_is_the_kernels_and_the_peak_is_no_smaller() -> None:
    memory = read_memory()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    resting = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    assert memory.peak_rss_bytes is not None
    assert memory.resting_rss_bytes == pytest.approx(resting, rel=0.1)
    assert memory.peak_rss_bytes >= 0.99 * memory.resting_rss_bytes


# In a process of its own: the kernel takes mapped files back from a large one at any moment.
ALLOCATE = """
import json
import numpy as np
from mezzotint.benchmarks.measure.memory import read_memory
before = read_memory().resting_rss_bytes
block = np.ones(80_000_000, dtype=np.uint8)
held = read_memory().peak_rss_bytes
del block
after = read_memory()
print(json.dumps([before, held, after.peak_rss_bytes, after.resting_rss_bytes]))
"""


def test_the_peak_remembers_what_was_freed() -> None:
    done = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    before, held, peak, resting = json.loads(done.stdout)
    assert held >= before + 70_000_000
    assert peak >= 0.99 * held  # the kernel counts in batches
    assert resting < before + 40_000_000


class FakeNvml(SimpleNamespace):
    """NVML with one GPU, on which the processes `held` hold memory; `broken` fails at start."""

    class NVMLError(Exception):
        """What pynvml raises."""

    def __init__(self, held: dict[int, int], broken: bool = False) -> None:
        super().__init__(held=held, broken=broken)

    def nvmlInit(self) -> None:  # noqa: N802 -- NVML's names
        if self.broken:
            raise self.NVMLError

    def nvmlShutdown(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, _handle: int) -> str:  # noqa: N802
        return "Fake GPU"

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.held.items()]


def test_gpu_memory_is_that_of_this_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml({os.getpid(): 700, 1: 9000}))
    assert process_vram_bytes() == (700, None)
    assert gpu_name() == ("Fake GPU", None)


def test_no_gpu_memory_is_a_reason_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml({}))
    assert process_vram_bytes() == (None, "the case ran on the CPU")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml({}, broken=True))
    assert process_vram_bytes() == (None, "no GPU")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert process_vram_bytes() == (None, "nvidia-ml-py is not installed")
