"""The facts about machine and software without which no figure means anything."""

import os
import platform
from typing import TypedDict

import psutil

from mezzotint import __version__
from mezzotint.engines.cpu import cpu_features, cpu_generation, cpu_model

from .gpu import gpu_name
from .versions import installed_versions

_INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
# Variables that set how many threads the engines' math libraries use, and how these wait.
_SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "scikit-image",
)


class Machine(TypedDict):
    """`instruction_sets` are those that decide the speed of 8- and 16-bit arithmetic; `cores` those usable here.

    `settings` are the environment's variables about threads, where they are set.
    """

    cpu_model: str
    instruction_sets: list[str]
    cores: int
    ram_bytes: int | None
    gpu: str | None
    os: str
    python: str
    versions: dict[str, str]
    settings: dict[str, str]
    reasons: dict[str, str]


def describe_machine() -> Machine:
    """Read it now; a fact that cannot be had is None with its reason."""
    gpu, no_gpu = gpu_name()
    reasons = {} if no_gpu is None else {"gpu": no_gpu}
    return {
        "cpu_model": _processor(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in cpu_features()],
        "cores": len(os.sched_getaffinity(0)),
        "ram_bytes": psutil.virtual_memory().total,
        "gpu": gpu,
        "os": _os_name(),
        "python": platform.python_version(),
        "versions": {"mezzotint": __version__, **installed_versions(_PACKAGES)},
        "settings": {name: os.environ[name] for name in _SETTINGS if name in os.environ},
        "reasons": reasons,
    }


def _processor() -> str:
    """Such as "AMD EPYC (family 25, model 17, virtual machine)"."""
    details = [cpu_generation(), "virtual machine" if "hypervisor" in cpu_features() else ""]
    known = ", ".join(detail for detail in details if detail)
    return f"{cpu_model()} ({known})" if known else cpu_model()


def _os_name() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, kernel {platform.release()}, {platform.machine()}"
