"""The layout holds: links, one-way layers, a runtime without torch, and a wheel that has every file of the tree."""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "export", "quantize", "benchmarks")

# Who may import whom, across folders. `mezzotint` is the command line; `demo` and `tests` sit on top.
COMMAND_LINE = ("cli", "generate", "inspection", "terminal")
ALLOWED: dict[str, tuple[str, ...]] = {
    "runtime": (),
    "export": ("runtime",),
    "quantize": ("runtime",),
    "benchmarks": ("runtime", "export", "quantize"),
    "mezzotint": (*FOLDERS, *COMMAND_LINE),
    "demo": (*FOLDERS, *COMMAND_LINE),
    "tests": (*FOLDERS, *COMMAND_LINE),
}
TORCH = {"torch", "torchvision", "diffusers", "transformers", "accelerate"}  # torch, and what brings it along
NOT_IN_RUNTIME = TORCH | {"onnx", "onnx_ir", "onnxscript", "optimum", "nncf"}


def may_use_torch(folder: str, filename: str) -> bool:
    return folder in ("export", "demo", "tests") or (
        folder == "benchmarks" and (filename == "baseline.py" or filename.startswith("perceptual_"))
    )


def imported_names(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """Line, relative level and dotted name of everything imported, inside functions and by name as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            for alias in node.names:
                yield node.lineno, node.level, f"{module}{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, 0, node.args[0].value


def complaint(folder: str, filename: str, level: int, name: str) -> str | None:
    """Why the file `filename` of `folder` must not import `name`, or None."""
    parts = name.split(".")
    if level > 1:
        return f"leaves its folder by dots; write `from mezzotint...` for {name}"
    if level == 1:
        crosses = folder == "mezzotint" and parts[0] in FOLDERS
        return f"reaches {name} by a dot; write `from mezzotint.{name}`" if crosses else None
    if parts[0] in (*FOLDERS, "cli"):
        return f"imports bare {name}; it is mezzotint.{name}"
    if parts[0] == "demo" and folder not in ("demo", "tests"):
        return f"imports {name}; nothing may use demo"
    if parts[0] == "tests" and folder != "tests":
        return f"imports {name}; nothing may use tests"
    if parts[0] == "mezzotint":
        target = parts[1] if len(parts) > 1 else ""
        if target == folder:
            return f"imports its own folder as {name}; use a relative import"
        if target not in (*ALLOWED[folder], "", "__version__"):
            return f"imports {name}; {folder} may use only {', '.join(ALLOWED[folder]) or 'itself'}"
    if folder == "runtime" and parts[0] in NOT_IN_RUNTIME:
        return f"imports {name}, which the runtime must do without"
    if parts[0] in TORCH and not may_use_torch(folder, filename):
        return f"imports {name}; torch belongs in export, demo and the baseline and perceptual files of benchmarks"
    return None


def violations(source: str, folder: str, filename: str) -> list[str]:
    imports = imported_names(ast.parse(source))
    found = [(line, complaint(folder, filename, level, name)) for line, level, name in imports]
    return [f"{folder}/{filename}:{line} {text}" for line, text in found if text]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_package_links_to_the_folder(name: str) -> None:
    link = ROOT / "mezzotint" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)


def test_imports_point_one_way() -> None:
    found: list[str] = []
    for folder in ALLOWED:
        paths = [path for path in sorted((ROOT / folder).rglob("*.py")) if not in_link(path)]
        assert paths, folder
        for path in paths:
            found += violations(path.read_text(encoding="utf-8"), folder, path.name)
    assert found == []


def in_link(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents)


@pytest.mark.parametrize(
    ("folder", "filename", "source"),
    [
        ("runtime", "session.py", "import torch"),
        ("runtime", "session.py", "def late() -> None:\n    from onnx import helper"),
        ("runtime", "session.py", "import importlib\nimportlib.import_module('diffusers')"),
        ("runtime", "session.py", "from mezzotint.export import parity"),
        ("runtime", "session.py", "from mezzotint.runtime.affine import quantize"),
        ("runtime", "session.py", "from mezzotint import quantize"),
        ("runtime", "session.py", "from ..export import parity"),
        ("export", "unet.py", "from mezzotint.quantize import recipe"),
        ("export", "unet.py", "import mezzotint.benchmarks.baseline"),
        ("export", "unet.py", "from mezzotint.cli import main"),
        ("quantize", "recipe.py", "from mezzotint.export import parity"),
        ("quantize", "recipe.py", "import torch"),
        ("quantize", "recipe.py", "from runtime import affine"),
        ("benchmarks", "case.py", "import torch.nn"),
        ("benchmarks", "baseline.py", "import demo.run"),
        ("mezzotint", "cli.py", "from .runtime import TextToImage"),
        ("mezzotint", "cli.py", "import torch"),
        ("demo", "run.py", "import export"),
        ("tests", "test_x.py", "import runtime.affine"),
    ],
)
def test_the_checker_finds_a_planted_violation(folder: str, filename: str, source: str) -> None:
    assert len(violations(source, folder, filename)) == 1


@pytest.mark.parametrize(
    ("folder", "filename", "source"),
    [
        ("runtime", "engine.py", "from .affine import quantize\nfrom . import noise\nimport onnxruntime"),
        ("runtime", "engine.py", "from mezzotint import __version__"),
        ("export", "unet.py", "import torch\nfrom mezzotint.runtime import Manifest"),
        ("quantize", "recipe.py", "import onnx_ir\nfrom mezzotint.runtime.affine import quantize"),
        ("benchmarks", "baseline.py", "import torch\nfrom mezzotint.quantize import recipe"),
        ("benchmarks", "perceptual_lpips.py", "import torch"),
        ("mezzotint", "__main__.py", "from .cli import main"),
        ("mezzotint", "__main__.py", "from mezzotint.cli import main"),
        ("demo", "run.py", "import torch\nfrom mezzotint.benchmarks import report\nfrom . import prompts"),
        ("tests", "test_x.py", "import diffusers\nfrom demo import run\nfrom tests.demo import test_prompts"),
    ],
)
def test_the_checker_lets_good_imports_pass(folder: str, filename: str, source: str) -> None:
    assert violations(source, folder, filename) == []


def test_the_runtime_imports_no_framework_and_no_engine() -> None:
    heavy = ("torch", "diffusers", "transformers", "onnx", "onnxruntime", "openvino")
    code = f"import sys, mezzotint.runtime; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_are_flat_and_data_lies_in_assets(folder: str) -> None:
    # the build leaves out, without a word, a nested package and a data file that its explicit lists do not name
    files = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()]
    visible = [path for path in files if "__pycache__" not in path.parts]
    misplaced = [path for path in visible if path.parts[:-1] not in ((), ("assets",)) or in_wrong_place(path)]
    assert misplaced == []


def in_wrong_place(path: Path) -> bool:
    """Code in assets, or data beside the code."""
    return (path.suffix == ".py") == (path.parts[0] == "assets")


def test_the_wheel_has_every_file_of_the_tree_and_no_other(tmp_path: Path) -> None:
    checkout, wheels = tmp_path / "checkout", tmp_path / "wheels"
    copy_checkout(checkout)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - metadata == files_to_package(checkout)
    assert any(name.endswith("/licenses/LICENSE") for name in metadata)


def copy_checkout(destination: Path) -> None:
    """What a build reads, tests and demo included, so that the wheel could pick them up by mistake."""
    destination.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, destination)
    for name in ("mezzotint", *FOLDERS, "tests"):
        shutil.copytree(ROOT / name, destination / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "demo", destination / "demo", ignore=shutil.ignore_patterns("checkpoint", "__pycache__"))


def files_to_package(checkout: Path) -> set[str]:
    folders = [checkout / folder for folder in FOLDERS]
    shared = [path for folder in folders for path in (*folder.glob("*.py"), *folder.glob("assets/*"))]
    own = [*checkout.glob("mezzotint/*.py"), checkout / "mezzotint" / "py.typed"]
    inside = {f"mezzotint/{path.relative_to(checkout).as_posix()}" for path in shared}
    return inside | {path.relative_to(checkout).as_posix() for path in own}
