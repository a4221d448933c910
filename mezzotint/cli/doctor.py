"""`mezzotint doctor`."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from mezzotint import __version__
from mezzotint.cache import cache_folder
from mezzotint.engines.cpu import cpu_features, cpu_model
from mezzotint.engines.engine import Engine
from mezzotint.engines.four_bit_test import check_four_bits
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.nvidia import has_nvidia_driver
from mezzotint.engines.rtx.driver import visible_gpus
from mezzotint.engines.self_test import check_integers
from mezzotint.errors import CheckFailed, MezzotintError

from .options import AsJson
from .terminal import STDOUT, write_json

# What decides how fast 8 and 16 bits are, as /proc/cpuinfo spells them.
_FEATURES = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)
_TESTS = ("int8_self_test", "int4_self_test")
_PACKAGES = (
    "numpy",
    "pillow",
    "tokenizers",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt_rtx_cu12_bindings",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "nncf",
    "torch",
    "diffusers",
    "transformers",
    "optimum-onnx",
)


def doctor(as_json: AsJson = False) -> None:
    """Show which engines, CPU features and packages this machine has.

    Each engine that can run is put to a small computation in INT8, and to one with 4-bit weights; exit code 1 when one
    of them gets one wrong.
    """
    found = examine()
    if as_json:
        write_json(found)
    else:
        _show(found)
    tried = [(engine["name"], engine[test]) for engine in found["engines"] for test in _TESTS]
    wrong = [f"{name}: {result}" for name, result in tried if result not in (None, "passed")]
    if wrong:
        raise CheckFailed(what="; ".join(wrong))


def examine() -> dict[str, Any]:
    """All that `doctor` shows, as JSON has it. Nothing that is missing stops it."""
    return {
        "mezzotint": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {
            "model": cpu_model(),
            "features": [name for name in _FEATURES if name in cpu_features()],
            "cores": os.cpu_count(),
            "usable_cores": _usable_cores(),
        },
        "memory_bytes": _memory_bytes(),
        "nvidia_driver": has_nvidia_driver(),
        "gpus": list(visible_gpus()) if has_nvidia_driver() else [],
        "engines": [_engine(engine) for engine in ENGINES],
        "packages": {name: _version(name) for name in _PACKAGES},
        "caches": _caches(),
    }


def _engine(engine: Engine) -> dict[str, Any]:
    missing = engine.missing()
    return {
        "name": engine.name,
        "version": _version(engine.package) or _version(f"{engine.package}-gpu"),
        "missing": missing,
        "precisions": list(engine.precisions()) if missing is None else [],
        "int8_self_test": _self_test(engine, check_integers) if missing is None else None,
        "int4_self_test": _self_test(engine, check_four_bits) if missing is None else None,
    }


def _self_test(engine: Engine, check: Callable[[Engine], None]) -> str | None:
    """ "passed", or what went wrong; None for an engine without INT8, or none that a CPU could get wrong."""
    if engine.integers is None:
        return None
    try:
        check(engine)
    except MezzotintError as error:
        return str(error)
    except (ImportError, RuntimeError, OSError) as error:  # an installation that is broken
        return f"could not run ({type(error).__name__}: {error})"
    return "passed"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _caches() -> list[dict[str, Any]]:
    """The folders of the user's cache that are ours, and what lies in them."""
    anything = cache_folder("any")
    if anything is None or not anything.parent.is_dir():
        return []
    folders = sorted(path for path in anything.parent.iterdir() if path.is_dir())
    return [{"path": str(folder), "bytes": _size(folder)} for folder in folders]


def _size(folder: Path) -> int:
    sizes = []
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size if path.is_file() else 0)
        except OSError:  # gone since it was listed
            continue
    return sum(sizes)


def gpu_lines(gpus: Sequence[str]) -> list[str]:
    """A line for each GPU, and which of several runs."""
    lines = [f"GPU {index}: {gpu}" for index, gpu in enumerate(gpus)]
    if len(gpus) > 1:
        lines.append("GPU 0 runs, and no other; with CUDA_VISIBLE_DEVICES=1 before a command it is GPU 1")
    return lines


def _show(found: dict[str, Any]) -> None:
    cpu, memory = found["cpu"], found["memory_bytes"]
    ram = "unknown" if memory is None else f"{memory / 1e9:.1f} GB"
    lines = [
        f"mezzotint {found['mezzotint']}, Python {found['python']}, {found['platform']}",
        f"CPU: {cpu['model']}, {cpu['usable_cores']} of {cpu['cores']} cores; memory: {ram}",
        f"CPU features: {', '.join(cpu['features']) or 'none that speed up 8 or 16 bits'}",
    ]
    STDOUT.print("\n".join((*lines, *gpu_lines(found["gpus"]))), markup=False)
    table = Table("engine", "version", "precisions", "INT8 self-test", "4-bit self-test", "")
    for engine in found["engines"]:
        precisions = ", ".join(engine["precisions"])
        ready = "ready" if engine["missing"] is None else "cannot run here"
        tests = [engine[test] or "" for test in _TESTS]
        table.add_row(engine["name"], engine["version"] or "", precisions, *tests, ready)
    STDOUT.print(table, markup=False)
    for engine in found["engines"]:
        if engine["missing"] is not None:  # in a line of its own: a cell would cut the command off that it ends with
            STDOUT.print(f"{engine['name']} {engine['missing']}", markup=False)
    packages = [f"{name} {version}" for name, version in found["packages"].items() if version is not None]
    STDOUT.print(f"packages: {', '.join(packages)}", markup=False)
    for cache in found["caches"]:
        STDOUT.print(f"cache: {cache['path']}, {cache['bytes'] / 1e6:.1f} MB", markup=False)
