"""The layout holds at any depth: links, floors, no circle, small folders, and torch where it belongs."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "export", "quantize", "benchmarks")
MOST_MODULES = 25  # in one folder, its __init__ not counted

# The floors, lowest first: a module imports from its own floor's package and from those below, never from a neighbour.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("",),  # the modules of mezzotint/ itself: errors, numerics, progress, ...
    ("bundle",),
    ("tensor_files",),
    ("engines", "families"),
    ("adapters",),
    ("runtime",),
    ("export", "quantize"),
    ("optimize",),
    ("benchmarks",),
    ("tune",),
    ("serve",),
    ("cli",),
    ("demo",),
    ("tests",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

TORCH = {"torch", "torchvision", "diffusers", "transformers", "accelerate"}  # torch, and what brings it along
EXPORTERS = {"onnx", "onnx_ir", "onnxscript", "optimum", "nncf"}
WITH_TORCH = ("export", "demo", "tests")
WITH_TORCH_IN_BENCHMARKS = ("baseline", "perceptual_", "peer_")


def module_name(path: Path) -> str:
    """Dotted name of a file, relative to the root: "mezzotint.runtime.samplers.ddim"."""
    parts = [*path.relative_to(ROOT).with_suffix("").parts]
    if parts[0] in FOLDERS:
        parts.insert(0, "mezzotint")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    """The name in FLOORS that a module stands under."""
    first, _, rest = module.partition(".")
    second = rest.partition(".")[0]
    return first if first != "mezzotint" else second if second in FLOOR_OF else ""


def source_files() -> dict[str, Path]:
    """Every module of the project by name; what lies behind the links is found once, at the root."""
    roots = ("mezzotint", *FOLDERS, "demo", "tests")
    paths = [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]
    return {module_name(path): path for path in paths if not any(parent.is_symlink() for parent in path.parents)}


MODULES = source_files()


def imported(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, int, str]]:
    """Line, relative level and absolute dotted name of all that is imported, inside functions and by name as well."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: package.count(".") + 2 - node.level]) if node.level else ""
            prefix = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield node.lineno, node.level, f"{prefix}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, 0, node.args[0].value


def complaint(module: str, level: int, name: str) -> str | None:
    """Why `module` must not import `name`, or None."""
    here, top = package_of(module), name.split(".")[0]
    if top in FOLDERS:
        return f"imports bare {name}; it is mezzotint.{name}"
    if top in ("mezzotint", "demo", "tests"):
        return _complaint_of_floor(module, level, name)
    if top in TORCH and not may_use_torch(module):
        return f"imports {name}; torch belongs in export, demo and three kinds of files in benchmarks"
    if top in EXPORTERS and FLOOR_OF[here] <= FLOOR_OF["runtime"]:
        return f"imports {name}, which everything up to the runtime must do without"
    return None


def _complaint_of_floor(module: str, level: int, name: str) -> str | None:
    here, there = package_of(module), package_of(name)
    if here == there:
        crosses = level == 0 and here not in ("", "demo", "tests") and not name.endswith(".__version__")
        return f"imports its own package as {name}; use a relative import" if crosses else None
    if level:
        return f"leaves its package by dots; write `from mezzotint...` for {name}"
    if FLOOR_OF[there] >= FLOOR_OF[here]:
        return f"imports {name}; {here or 'mezzotint'} stands below {there}, or beside it"
    return None


def may_use_torch(module: str) -> bool:
    name = module.rpartition(".")[2]
    return package_of(module) in WITH_TORCH or (
        package_of(module) == "benchmarks" and name.startswith(WITH_TORCH_IN_BENCHMARKS)
    )


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    found = [
        (line, complaint(module, level, name)) for line, level, name in imported(source, module, is_package=is_package)
    ]
    return [f"{module}:{line} {text}" for line, text in found if text]


def test_imports_point_down() -> None:
    found: list[str] = []
    for module, path in MODULES.items():
        if module != "mezzotint.__main__":  # it starts the command line
            found += violations(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mezzotint.errors", "import torch"),
        ("mezzotint.bundle.manifest", "from mezzotint.engines.session import Session"),
        ("mezzotint.engines.session", "from mezzotint.families.family import Family"),
        ("mezzotint.runtime.samplers.ddim", "def late() -> None:\n    from onnx import helper"),
        ("mezzotint.runtime.samplers.ddim", "import importlib\nimportlib.import_module('diffusers')"),
        ("mezzotint.runtime.samplers.ddim", "from mezzotint.runtime.settings import Settings"),
        ("mezzotint.runtime.samplers.ddim", "from ...export import parity"),
        ("mezzotint.export.unet", "from mezzotint.quantize import recipe"),
        ("mezzotint.quantize.lower.cuda", "import torch"),
        ("mezzotint.quantize.lower.cuda", "from runtime import settings"),
        ("mezzotint.benchmarks.cases.case", "import torch.nn"),
        ("mezzotint.benchmarks.cases.baseline", "import demo.run"),
        ("mezzotint.cli.app", "import torch"),
        ("demo.run", "from tests import conftest"),
    ],
)
def test_the_checker_finds_a_planted_violation(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


def groups_of(modules: Mapping[str, Path]) -> dict[str, str]:
    """The group of every module: the folder that it lies in."""
    return {name: name if path.name == "__init__.py" else name.rpartition(".")[0] for name, path in modules.items()}


def arrows(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which module of the project imports which."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for module, path in modules.items():
        text = path.read_text(encoding="utf-8")
        for _, _, name in imported(text, module, is_package=path.name == "__init__.py"):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module:
                graph[module].add(target)
    return graph


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of the graph, or nothing: depth first, with the path from the start in hand."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in done:
            for target in sorted(graph.get(node, ())):
                if found := walk(target, [*path, node]):
                    return found
            done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])


def library() -> dict[str, Path]:
    """All modules but the one that starts the command line."""
    return {name: path for name, path in MODULES.items() if name.startswith("mezzotint.") and "__main__" not in name}


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    assert circle(arrows(library())) == []


def test_groups_do_not_import_each_other_in_a_circle() -> None:
    groups, graph = groups_of(library()), arrows(library())
    between: dict[str, set[str]] = {}
    for module, targets in graph.items():
        own = groups[module]
        between.setdefault(own, set()).update(groups[target] for target in targets if groups[target] != own)
    assert circle(between) == []


def test_a_planted_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_folders_are_small() -> None:
    counts: dict[Path, int] = {}
    for path in library().values():
        if path.name != "__init__.py":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_package_links_to_the_folder(name: str) -> None:
    link = ROOT / "mezzotint" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)


def test_the_runtime_imports_no_framework_and_no_engine() -> None:
    heavy = ("torch", "diffusers", "transformers", "onnx", "onnxruntime", "openvino")
    code = f"import sys, mezzotint.runtime; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_the_runtime_imports_where_there_is_no_fcntl() -> None:
    """As on Windows. There the lock is another one; here, without, it would be a softer one and filelock says so."""
    code = "import sys; sys.modules['fcntl'] = None; import mezzotint.runtime, mezzotint.atomic_folder, mezzotint.cli"
    command = [sys.executable, "-W", "ignore::UserWarning", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
