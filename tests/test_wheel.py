"""The wheel in an environment of its own, outside the checkout, with one engine and without PyTorch."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.runtime import Bundle, TextToImage

from .test_layout import copy_checkout

pytestmark = pytest.mark.slow

APP = """
import sys
from mezzotint.runtime import TextToImage
pipe = TextToImage.load(sys.argv[1])
image = pipe("a red apple", steps=3, seed=0).images[0]
image.save(sys.argv[2])
"""
ABSENT = ("torch", "diffusers", "transformers", "onnx", "openvino", "nncf")
BROUGHT_BY_VENV = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
LIMIT_MB = 225  # without bytecode, which is a cache


def run(*command: object, cwd: Path) -> str:
    """Standard output; what went wrong is shown when it does."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def megabytes(packages: Path, *, bytecode: bool) -> float:
    """Disk usage, as `du` counts it, less what an empty environment has already."""
    own = [path for path in packages.rglob("*") if not path.relative_to(packages).parts[0].startswith(BROUGHT_BY_VENV)]
    return sum(path.lstat().st_blocks * 512 for path in own if bytecode or path.suffix != ".pyc") / 1e6


@pytest.fixture(scope="module")
def python(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has nothing but the wheel with `[cpu]`."""
    root = tmp_path_factory.mktemp("wheel")
    copy_checkout(root / "checkout")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", root, root / "checkout", cwd=root)
    (wheel,) = root.glob("*.whl")
    shutil.rmtree(root / "checkout")
    run(sys.executable, "-m", "venv", root / "environment", cwd=root)
    found = root / "environment" / "bin" / "python"
    constraints = repo_root / "constraints.txt"
    run(found, "-m", "pip", "install", "--quiet", "-c", constraints, f"{wheel}[cpu]", cwd=root)
    return found


def test_five_lines_draw_a_picture(python: Path, tiny_int8: Bundle, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_int8.path, tmp_path / "copied")
    run(python, "-c", APP, bundle, "apple.png", cwd=tmp_path)
    expected = TextToImage.load(tiny_int8.path)("a red apple", steps=3, seed=0).images[0]
    with Image.open(tmp_path / "apple.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


def test_the_command_line_is_there(python: Path, tiny_int8: Bundle, tmp_path: Path) -> None:
    program = python.with_name("mezzotint")
    assert "unet" in run(program, "inspect", tiny_int8.path, cwd=tmp_path)
    run(program, "generate", tiny_int8.path, "a red apple", "-o", "apple.png", "--steps", "2", cwd=tmp_path)


def test_nothing_heavy_came_along(python: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    find = "import importlib.util as u, sys; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    assert run(python, "-c", find, *ABSENT, cwd=tmp_path).strip() == "[]"
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    files, compiled = (megabytes(packages, bytecode=bytecode) for bytecode in (False, True))
    with capsys.disabled():
        sys.stdout.write(f"\nsite-packages with [cpu]: {files:.0f} MB, {compiled:.0f} MB with bytecode\n")
    assert files < LIMIT_MB
