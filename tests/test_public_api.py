"""Every module says what is public, and means it: `__all__` exists, its names exist, and nothing public is left out."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "export", "quantize", "benchmarks")
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if path.name != "__main__.py"]


def public_definitions(source: str) -> set[str]:
    """Names of the top-level functions and classes that do not start with an underscore."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(source).body if isinstance(node, kinds) and not node.name.startswith("_")}


@pytest.mark.filterwarnings("default")  # a library that warns when imported is not our fault
@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_the_module_declares_its_public_names(path: Path) -> None:
    name = f"mezzotint.{path.parent.name}" + ("" if path.stem == "__init__" else f".{path.stem}")
    module = importlib.import_module(name)
    declared = getattr(module, "__all__", None)
    assert declared is not None, f"{name} has no __all__"
    assert len(declared) == len(set(declared))
    assert [entry for entry in declared if not hasattr(module, entry)] == []
    assert sorted(public_definitions(path.read_text(encoding="utf-8")) - set(declared)) == []


def test_public_definitions_are_the_top_level_ones_without_underscore() -> None:
    source = (
        "class A: \n    def method(self): ...\nasync def b(): ...\ndef _c(): ...\nd = 1\ndef e():\n    def f(): ..."
    )
    assert public_definitions(source) == {"A", "b", "e"}
