"""What NVML, NVIDIA's driver library, says about the GPU; without one, the reason why nothing is said."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def gpu_name() -> tuple[str | None, str | None]:
    """(name of the first GPU, None), or (None, why there is none)."""
    return _ask(lambda nvml: (str(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(0))), None))


def process_vram_bytes() -> tuple[int | None, str | None]:
    """(bytes of GPU memory that this process holds, None), or (None, why there is no figure)."""
    return _ask(_own_vram)


def _own_vram(nvml: Any) -> tuple[int | None, str | None]:
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    processes = [entry for handle in handles for entry in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    used = [entry.usedGpuMemory for entry in processes if entry.pid == os.getpid() and entry.usedGpuMemory]
    return (sum(used), None) if used else (None, "the case ran on the CPU")


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
