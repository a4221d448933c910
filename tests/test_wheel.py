"""The wheel in environments of its own, outside the checkout: without an engine, and with one; never with PyTorch."""

import base64
import io
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.runtime import Bundle, TextToImage
from tests.test_wheel_contents import copy_checkout

pytestmark = pytest.mark.slow

APP = """
import sys
from mezzotint.runtime import TextToImage
pipe = TextToImage.load(sys.argv[1])
image = pipe("a red apple", steps=3, seed=0).images[0]
image.save(sys.argv[2])
"""
IMPORT = """
import sys, time
begun = time.perf_counter()
import mezzotint.runtime
took_ms = (time.perf_counter() - begun) * 1e3
print(f"{took_ms:.0f}", *(name for name in ("onnxruntime", "openvino") if name in sys.modules))
"""
ABSENT = ("torch", "diffusers", "transformers", "onnx", "nncf")
ENGINES = ("onnxruntime", "openvino")
BROUGHT_BY_VENV = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
LIMITS_MB = {"base": 150, "onnxruntime": 225, "openvino": 335}  # without bytecode, which is a cache
ENGINE_OF = {"base": None, "onnxruntime": "onnxruntime", "openvino": "openvino"}


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, which is gone afterwards."""
    root = tmp_path_factory.mktemp("wheel")
    copy_checkout(root / "checkout")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", root, root / "checkout", cwd=root)
    shutil.rmtree(root / "checkout")
    (found,) = root.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environments(wheel: Path, repo_root: Path) -> Callable[[str], Path]:
    """The interpreter of an environment that has nothing but the wheel with an extra; made when first asked for."""

    @cache
    def make(extra: str) -> Path:
        folder = wheel.parent / extra
        run(sys.executable, "-m", "venv", folder, cwd=wheel.parent)
        what = wheel if extra == "base" else f"{wheel}[{extra}]"
        python = folder / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "-c", repo_root / "constraints.txt", what, cwd=wheel.parent)
        return python

    return make


@pytest.fixture
def python(environments: Callable[[str], Path]) -> Path:
    """The interpreter of the environment with `[onnxruntime]`."""
    return environments("onnxruntime")


def test_five_lines_generate_an_image(python: Path, tiny_int8: Bundle, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_int8.path, tmp_path / "copied")
    run(python, "-c", APP, bundle, "apple.png", cwd=tmp_path)
    expected = TextToImage.load(tiny_int8.path)("a red apple", steps=3, seed=0).images[0]
    with Image.open(tmp_path / "apple.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_the_command_line_is_there(environments: Callable[[str], Path], tiny_int8: Bundle, tmp_path: Path) -> None:
    program = environments("cli,onnxruntime").with_name("mezzotint")
    assert "unet" in run(program, "inspect", tiny_int8.path, cwd=tmp_path)
    run(program, "generate", tiny_int8.path, "a red apple", "-o", "apple.png", "--steps", "2", cwd=tmp_path)


def test_openvino_alone_generates_too(environments: Callable[[str], Path], tiny_bundle: Bundle, tmp_path: Path) -> None:
    run(environments("openvino"), "-c", APP, tiny_bundle.path, "apple.png", cwd=tmp_path)
    expected = TextToImage.load(tiny_bundle.path, backend="openvino")("a red apple", steps=3, seed=0).images[0]
    with Image.open(tmp_path / "apple.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_it_serves(environments: Callable[[str], Path], tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A page and an image, from an environment with `[serve,openvino]` alone; the server ends by itself."""
    program = environments("serve,openvino").with_name("mezzotint")
    options = ("--port", "0", "--exit-after", "20")
    server = subprocess.Popen(
        [program, "serve", tiny_bundle.path, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    url = server.stderr.readline().rpartition(" at ")[2].strip()
    body = json.dumps({"prompt": "a red apple", "seed": 0, "num_inference_steps": 3}).encode()
    asked = urllib.request.Request(f"{url}/v1/images/generations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(url) as page:
        assert b"<title>Mezzotint</title>" in page.read()
    with urllib.request.urlopen(asked) as answer:
        content = base64.b64decode(json.loads(answer.read())["data"][0]["b64_json"])
    expected = TextToImage.load(tiny_bundle.path, backend="openvino")("a red apple", steps=3, seed=0).images[0]
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    server.stderr.read()
    server.stderr.close()
    assert server.wait() == 0


def test_without_an_engine_bundles_are_inspected_and_the_extras_named(
    environments: Callable[[str], Path], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    program = environments("cli").with_name("mezzotint")
    assert "unet" in run(program, "inspect", tiny_bundle.path, cwd=tmp_path)
    command = [str(program), "generate", str(tiny_bundle.path), "a red apple", "-o", "apple.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for extra in ("onnxruntime", "openvino"):
        assert f"pip install 'mezzotint[{extra}]'" in done.stderr


def test_without_its_extra_the_command_line_names_it(environments: Callable[[str], Path], tmp_path: Path) -> None:
    program = environments("base").with_name("mezzotint")
    done = subprocess.run([str(program), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'mezzotint[cli]'" in done.stderr


@pytest.mark.parametrize("extra", LIMITS_MB)
def test_nothing_heavy_came_along(
    environments: Callable[[str], Path], extra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = environments(extra)
    find = "import importlib.util as u, sys; print(*(name for name in sys.argv[1:] if u.find_spec(name)))"
    found = run(python, "-c", find, *ABSENT, *ENGINES, cwd=tmp_path).split()
    assert found == [engine for engine in ENGINES if engine == ENGINE_OF[extra]]
    run(python, "-c", IMPORT, cwd=tmp_path)
    took_ms, *imported = run(python, "-c", IMPORT, cwd=tmp_path).split()
    assert imported == []
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    files, compiled = (megabytes(packages, bytecode=bytecode) for bytecode in (False, True))
    with capsys.disabled():
        sys.stdout.write(
            f"\n[{extra}]: {files:.0f} MB, {compiled:.0f} MB with bytecode; the import took {took_ms} ms\n"
        )
    assert files < LIMITS_MB[extra]
