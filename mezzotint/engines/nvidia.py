"""What a machine needs for ONNX Runtime's NVIDIA providers, found out without importing anything."""

import importlib.util
import shutil
from pathlib import Path

_DRIVER_FILES = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")  # the last is that of WSL


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

    onnxruntime and onnxruntime-gpu own the same import name, so that one has to go before the other comes.
    """
    if not has_provider_library(provider):
        return (
            "needs onnxruntime-gpu, and the installed onnxruntime is the CPU build; in an environment without it, run "
            f"`pip install 'mezzotint[{provider}]'`"
        )
    if not has_nvidia_driver():
        return "needs an NVIDIA GPU and its driver, which this machine lacks; pass --backend openvino or onnxruntime"
    return None
