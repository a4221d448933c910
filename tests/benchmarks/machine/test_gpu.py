"""GPU memory by NVML, without a GPU: of this process, or of the whole GPU where processes cannot be told apart."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.benchmarks.machine.gpu import gpu_name, process_vram_bytes

IN_USE = 5_000_000_000


def nvml(*processes: tuple[int, int | None], count: int = 1) -> Any:
    """NVML of `count` GPUs, on the first of which (process number, bytes) run."""
    entries = [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes]
    return SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: f"GPU {index}",
        nvmlDeviceGetComputeRunningProcesses=lambda index: entries if index == 0 else [],
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(used=IN_USE if index == 0 else 0),
    )


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Of a process that has opened the driver."""
    path = tmp_path / "maps"
    path.write_text("7f00-7f01 r-xp 0 00:00 1 /usr/lib/libcuda.so.550.54\n")
    return path


@pytest.mark.parametrize("processes", [((os.getpid(), 3), (1, 7)), ((os.getpid(), 1), (os.getpid(), 2))])
def test_it_is_this_process_own(
    monkeypatch: pytest.MonkeyPatch, maps: Path, processes: tuple[tuple[int, int], ...]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(*processes))
    assert process_vram_bytes(maps) == (3, None)


@pytest.mark.parametrize("processes", [(), ((1, 7),), ((os.getpid(), None),)], ids=["none", "the host's", "WSL"])
def test_where_processes_cannot_be_told_apart_it_is_the_gpus(
    monkeypatch: pytest.MonkeyPatch, maps: Path, processes: tuple[tuple[int, int | None], ...]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(*processes, count=2))
    assert process_vram_bytes(maps) == (IN_USE, None)


def test_a_process_that_never_opened_the_driver_ran_on_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml((1, 7)))
    (tmp_path / "maps").write_text("7f00-7f01 r-xp 0 00:00 1 /usr/lib/libc.so.6\n")
    for maps in (tmp_path / "maps", tmp_path / "nothing"):
        assert process_vram_bytes(maps) == (None, "the case ran on the CPU")
    assert gpu_name() == ("GPU 0", None)
