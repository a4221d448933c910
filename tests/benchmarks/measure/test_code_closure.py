"""What a measurement's hash covers: every file that the measuring process depends on, wherever it lies."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mezzotint
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.subjects import module_of
from mezzotint.benchmarks.machine.machine import describe_machine
from mezzotint.benchmarks.measure.code_closure import code_files
from mezzotint.benchmarks.measure.fingerprint import fingerprint_case, measuring_code
from mezzotint.benchmarks.measure.isolate import WORKER, worker_environment
from mezzotint.benchmarks.measure.storage import content_sha256
from mezzotint.runtime import Bundle

PACKAGE = Path(mezzotint.__file__).parent
FILES = {
    "__init__.py": "",
    "start.py": "import json\nfrom .near import x\nfrom pkg.far.deep import y\ndef late():\n    from . import lazy",
    "near.py": "from . import alias as other\nimport numpy",
    "alias.py": "import importlib\nimportlib.import_module('pkg.by_name')",
    "by_name.py": "from importlib import import_module\nimport_module('.sibling', __package__)",
    "sibling.py": "from .far import deeper",
    "lazy.py": "import pkg.far.plain",
    "far/__init__.py": "from .unused import z",  # followed only by who takes a name from the package itself
    "far/deep.py": "from ..base import b",
    "far/deeper/__init__.py": "from .inner import c\nfrom ...top import t",
    "far/deeper/inner.py": "from importlib.resources import files\nfiles('pkg').joinpath('assets', 'table.txt')",
    "far/deeper/assets/table.txt": "1",
    "far/plain.py": "",
    "base.py": "",
    "top.py": "",
    "far/unused.py": "",
    "face.py": "from pkg.far import name",
    "assets/page.txt": "of nobody here",
}
NEVER_USED = {"far/unused.py", "face.py", "assets/page.txt"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "pkg"


def names(package: Path, *modules: str) -> set[str]:
    return {path.relative_to(package).as_posix() for path in code_files(package, modules)}


def test_imports_are_followed_in_every_spelling_and_folder(package: Path) -> None:
    assert names(package, "pkg.start") == set(FILES) - NEVER_USED


def test_a_package_that_a_name_is_taken_from_is_followed(package: Path) -> None:
    assert names(package, "pkg.face") == {"__init__.py", "face.py", "far/__init__.py", "far/unused.py"}


def test_a_folder_that_is_a_link_is_read_as_a_folder(package: Path) -> None:
    shutil.move(package / "far", package.parent / "elsewhere")
    (package / "far").symlink_to(Path("..", "elsewhere"))
    assert names(package, "pkg.start") == set(FILES) - NEVER_USED


def test_a_module_that_is_not_there_is_no_empty_closure(package: Path) -> None:
    with pytest.raises(ValueError, match=r"no module far\.gone"):
        code_files(package, ["pkg.far.gone"])


@pytest.mark.parametrize("kind", ["bundle", "baseline"])
def test_any_file_that_a_case_runs_changes_its_fingerprint(
    kind: str, tmp_path: Path, tiny_bundle: Bundle, tiny_checkpoint: Path
) -> None:
    source = tiny_bundle.path if kind == "bundle" else tiny_checkpoint
    case, machine = Case("x", kind, str(source), "onnxruntime", "fp32"), describe_machine()  # type: ignore[arg-type]
    copy = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = fingerprint_case(case, machine, copy)
    assert before == fingerprint_case(case, machine)  # links or folders, it is the same code
    measured = measuring_code(case, copy)
    code = content_sha256(copy, measured)  # what the fingerprint has of them
    for index, path in enumerate(measured):
        content = path.read_bytes()
        path.write_bytes(content + b"\n# changed\n")
        assert content_sha256(copy, measured) != code, path
        if index % 20 == 0:
            assert fingerprint_case(case, machine, copy) != before, path
        path.write_bytes(content)
    (other,) = copy.rglob("plots.py")  # makes reports
    other.write_bytes(b"")
    assert fingerprint_case(case, machine, copy) == before


def test_a_case_runs_nothing_that_is_not_hashed(tiny_bundle: Bundle) -> None:
    """By the functions that really ran while the case was loaded and used."""
    case = Case("x", "bundle", str(tiny_bundle.path), "onnxruntime", "fp32")
    code = f"""
import importlib, json, sys, threading
importlib.import_module({WORKER[-1]!r})
from mezzotint.benchmarks.cases.case import Case, Reading
from mezzotint.benchmarks.cases.workload import Workload
module = importlib.import_module({module_of(case.kind)!r})
ran = set()
note = lambda frame, event, argument: ran.add(frame.f_code.co_filename)
threading.setprofile(note)
sys.setprofile(note)
module.load({case!r}).generate("a", 0, Workload(prompts=("a",), steps=1))
sys.setprofile(None)
print(json.dumps(sorted(ran)))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=worker_environment(), check=True)
    ran = {Path(file).resolve() for file in json.loads(done.stdout.splitlines()[-1])}
    ours = {path for path in ran if any(path.is_relative_to(folder) for folder in folders_of_code())}
    assert len(ours) > 20
    assert ours <= {path.resolve() for path in measuring_code(case)}


def folders_of_code() -> list[Path]:
    """The package and, where they are links, its folders."""
    return [PACKAGE.resolve(), *(path.resolve() for path in PACKAGE.iterdir() if path.is_dir())]
