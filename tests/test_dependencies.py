"""Declared is imported, and imported is declared: pyproject.toml against the imports of the code, both ways."""

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_layout import imported

ROOT = Path(__file__).resolve().parents[1]
OWN = ("mezzotint", "demo", "tests")
ENGINES = ("onnxruntime", "openvino", "cuda", "tensorrt", "tensorrt-rtx")
# The extras that may be asked of who runs a folder's code. A folder in another one answers for itself.
COVERED_BY: dict[str, tuple[str, ...]] = {
    "mezzotint": (),
    "mezzotint/cli": ("cli",),
    "mezzotint/engines": ENGINES,
    "mezzotint/serve": ("serve",),
    "mezzotint/tune": ("benchmark",),
    "runtime": (),
    "export": ("export", *ENGINES),
    "quantize": ("quantize", *ENGINES),
    "benchmarks": ("benchmark", "quantize", "optimum", *ENGINES),  # `make peers` uses all of them
    "demo": ("train",),
    "tests": ("dev", "browser"),
}
NOT_IMPORTED = {  # declared all the same, and why
    "export": {
        "onnx": "onnxscript is built on it",
        "onnxscript": "torch.onnx.export is built on it",
    },
    "serve": {"python_multipart": "Starlette reads forms with it"},
    "tensorrt": {"tensorrt": "loaded by the name of whichever of its packages is installed"},
    "benchmark": {
        "stlpips_pytorch": "its package data are the weights of ST-LPIPS; importing its code would need torchvision"
    },
    "browser": {
        "axe_playwright_python": "tests import it where it is installed",
        "playwright": "tests import it where it is installed",
    },
    "dev": {
        "build": "tests run `python -m build`",
        "fastapi": "the programs of docs/embedding.md import it, and tests run them",
        "mypy": "a tool",
        "pytest_xdist": "`make test` runs two processes with it",
        "ruff": "a tool",
        "torchmetrics": "tests import it where it is installed",
    },
}
# Whose names packages_distributions() cannot tell where they are not installed.
MODULES = {
    "nvidia_ml_py": "pynvml",
    "onnxruntime_gpu": "onnxruntime",
    "optimum_onnx": "optimum",
    "opentelemetry_api": "opentelemetry",
    "pillow": "PIL",
    "prometheus_client": "prometheus_client",
    "python_multipart": "python_multipart",
    "scikit_image": "skimage",
    "tensorrt_rtx_cu12_bindings": "tensorrt_rtx_bindings",
    "tensorrt_rtx_cu12_libs": "tensorrt_rtx_libs",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def declared(*, own_only: bool = False) -> dict[str, set[str]]:
    """Distributions by extra, "" for the base; an extra that names another has all of that too, unless `own_only`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}

    def names(extra: str) -> set[str]:
        found = set()
        for line in lists[extra]:
            name, extras = re.match(r"([\w.-]+)(?:\[([^]]*)\])?", line).groups()  # type: ignore[union-attr]
            if name == project["name"] and own_only:
                continue
            if name == project["name"]:
                found |= set[str]().union(*(names(other.strip()) for other in extras.split(",")))
            else:
                found.add(canonical(name))
        return found

    return {extra: names(extra) for extra in lists}


@cache
def installed() -> dict[str, list[str]]:
    """Distributions by the top-level module that they bring."""
    return {name: list(owners) for name, owners in packages_distributions().items()}


def modules_of(distribution: str) -> set[str]:
    known = {name for name, owners in installed().items() if distribution in map(canonical, owners)}
    return known | {MODULES.get(distribution, distribution)}


@cache
def imported_by(folder: str) -> dict[str, str]:
    """Other people's top-level modules that a folder's code imports, and a file that does."""
    found: dict[str, str] = {}
    inner = {ROOT / other for other in COVERED_BY if other.startswith(f"{folder}/")}
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not any(parent.is_symlink() or parent in inner for parent in path.parents):
            for _, level, name in imported(path.read_text(encoding="utf-8"), "", is_package=False):
                root = name.partition(".")[0]
                if level == 0 and root and root not in (*OWN, *sys.stdlib_module_names):
                    found.setdefault(root, path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize("folder", COVERED_BY)
def test_what_is_imported_is_declared(folder: str) -> None:
    extras = declared()
    covering = {name for extra in ("", *COVERED_BY[folder]) for name in extras.get(extra, ())}
    modules = {module for name in covering for module in modules_of(name)}
    assert {module: file for module, file in imported_by(folder).items() if module not in modules} == {}


@pytest.mark.parametrize("extra", declared(own_only=True))
def test_what_is_declared_is_imported_and_what_is_not_has_a_reason(extra: str) -> None:
    folders = [folder for folder, extras in COVERED_BY.items() if not extra or extra in extras]
    used = {module for folder in folders for module in imported_by(folder)}
    unused = {name for name in declared(own_only=True)[extra] if not modules_of(name) & used}
    assert unused == set(NOT_IMPORTED.get(extra, {}))


def test_the_map_names_extras_and_folders_that_there_are() -> None:
    assert {extra for extras in COVERED_BY.values() for extra in extras} <= declared().keys()
    assert [folder for folder in COVERED_BY if not (ROOT / folder).is_dir()] == []


def test_the_checker_reads_extras_of_extras() -> None:
    extras = declared()
    assert {"numpy", "pillow"} <= extras[""]
    assert "torch" in extras["benchmark"]
    assert extras["export"] <= extras["dev"]
    assert "skimage" in modules_of("scikit_image")
