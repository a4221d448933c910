"""What NVML, NVIDIA's driver library, says about the GPU; without one, the reason why nothing is said."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_DRIVER = "libcuda.so"


def gpu_name() -> tuple[str | None, str | None]:
    """(name of the first GPU, None), or (None, why there is none)."""
    return _ask(lambda nvml: (str(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(0))), None))


def process_vram_bytes(maps: Path = Path("/proc/self/maps")) -> tuple[int | None, str | None]:
    """(bytes of GPU memory that this process holds, None), or (None, why there is no figure).

    In a container NVML numbers processes as its host does, so that none is this one, and under WSL it has no figures of
    theirs. Where this process has opened the driver all the same, as `maps` shows, what the first GPU holds counts.
    """
    return _ask(partial(_own_vram, maps))


def _own_vram(maps: Path, nvml: Any) -> tuple[int | None, str | None]:
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    processes = [entry for handle in handles for entry in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    used = [entry.usedGpuMemory for entry in processes if entry.pid == os.getpid() and entry.usedGpuMemory]
    if used:
        return sum(used), None
    if not handles or not _has_driver(maps):
        return None, "the case ran on the CPU"
    return int(nvml.nvmlDeviceGetMemoryInfo(handles[0]).used), None


def _has_driver(maps: Path) -> bool:
    try:
        return _DRIVER in maps.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _ask(question: Callable[[Any], tuple[T | None, str | None]]) -> tuple[T | None, str | None]:
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None, "no GPU"
    try:
        return question(pynvml)
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()
