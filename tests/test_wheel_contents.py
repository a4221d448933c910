"""The wheel has every file of the tree and no other: the build leaves out what pyproject.toml does not list."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("runtime", "export", "quantize", "benchmarks")


def copy_checkout(destination: Path) -> None:
    """What a build reads, tests and demo included, so that the wheel could pick them up by mistake."""
    destination.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, destination)
    for name in ("mezzotint", *FOLDERS, "tests"):
        shutil.copytree(ROOT / name, destination / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "demo", destination / "demo", ignore=shutil.ignore_patterns("checkpoint", "__pycache__"))


def files_to_package(checkout: Path) -> set[str]:
    """Names in the wheel of all that lies in the package and in the folders that it links to."""
    inside = [path.relative_to(checkout / "mezzotint") for path in real_files(checkout / "mezzotint")]
    for folder in FOLDERS:
        inside += [path.relative_to(checkout) for path in real_files(checkout / folder)]
    return {f"mezzotint/{path.as_posix()}" for path in inside}


def real_files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if not any(parent.is_symlink() for parent in path.parents)]


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
