"""What a machine needs for ONNX Runtime's NVIDIA providers, found out without importing anything."""

import importlib.metadata
import importlib.util
import re
import shutil
from pathlib import Path

from mezzotint.bundle.precision import Compute

_DRIVER_FILES = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")  # the last is that of WSL
# By CUDA's major version, the first driver for it (docs.nvidia.com/deploy/cuda-compatibility, "Minor Version ..").
_OLDEST_DRIVERS = {12: (525, 60), 13: (580, 65)}
_OLDEST_CUDA = 12
_NO_DRIVER = (
    "needs an NVIDIA GPU and its driver, which this machine lacks; here, use a bundle and a backend for openvino or "
    "onnxruntime"
)


def gpu_precisions() -> tuple[Compute, ...]:
    """What an NVIDIA GPU computes graphs in, best first. INT8 and FP8 are in a graph's types."""
    return Compute.F16, Compute.F32


def has_nvidia_driver() -> bool:
    """Whether the machine has an NVIDIA driver; it may still have no GPU that is free."""
    return any(Path(file).exists() for file in _DRIVER_FILES) or shutil.which("nvidia-smi") is not None


def has_provider_library(provider: str) -> bool:
    """Whether the installed onnxruntime is a build with `provider` ("cuda", "tensorrt")."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin).parent / "capi" if found is not None and found.origin else Path()
    return any(folder.glob(f"*onnxruntime_providers_{provider}.*"))


def missing_gpu_part(provider: str) -> str | None:
    """Why `provider` cannot run here, as the end of a sentence that begins with the backend's name; None when it can.

    onnxruntime and onnxruntime-gpu own the same import name, so that one has to go before the other comes. Where there
    is no driver, that comes first: no package would help.
    """
    if not has_nvidia_driver():
        return _NO_DRIVER
    if not has_provider_library(provider):
        return (
            "needs onnxruntime-gpu, and the installed onnxruntime is the CPU build; in an environment without it, run "
            f"`pip install 'mezzotint[{provider}]'`"
        )
    return missing_driver(onnxruntime_cuda())


def missing_driver(cuda: int = _OLDEST_CUDA) -> str | None:
    """What is wrong with the driver for packages built for CUDA `cuda`, its major version; None: nothing.

    It is the end of a sentence that begins with the backend's name.
    """
    if not has_nvidia_driver():
        return _NO_DRIVER
    version, needed = driver_version(), _OLDEST_DRIVERS[min(cuda, max(_OLDEST_DRIVERS))]
    if version is not None and version < needed:
        said, oldest = (".".join(map(str, one)) for one in (version, needed))
        return (
            f"needs an NVIDIA driver of version {oldest} or newer for CUDA {cuda}, and this one is {said}; install a "
            "newer one"
        )
    return None


def onnxruntime_cuda() -> int:
    """The major version of CUDA that the installed onnxruntime-gpu was built for, as its requirements name it."""
    try:
        required = " ".join(importlib.metadata.requires("onnxruntime-gpu") or ())
    except importlib.metadata.PackageNotFoundError:  # a build of one's own
        return _OLDEST_CUDA
    found = re.search(r"nvidia-cudnn-cu(\d+)", required)
    return _OLDEST_CUDA if found is None else max(int(found[1]), _OLDEST_CUDA)


def driver_version(file: Path = Path(_DRIVER_FILES[0])) -> tuple[int, ...] | None:
    """Such as (550, 54); None where no file says it, as on Windows."""
    try:
        found = re.search(r"Module\s+(?:for \S+\s+)?(\d+)\.(\d+)", file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return None if found is None else (int(found[1]), int(found[2]))
