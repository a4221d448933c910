"""Situations that users are in, each of which has to end in the image that diffusers, or a plain run, gives."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.bundle.bundle import write_manifest
from mezzotint.decibel import psnr_db
from mezzotint.engines.lineup import installed_engines
from mezzotint.runtime import Bundle, TextToImage
from tests.runtime.diffusers_images import DiffusersImages

PROMPT = "un café, 青い空 🍎"
ENGINES = [engine.name for engine in installed_engines()]

FORKED = """
import multiprocessing, sys
import numpy as np
from mezzotint.runtime import TextToImage

def generate(pipe, queue):
    queue.put(pipe("a", steps=2).pixels)

pipe = TextToImage.load(sys.argv[1], backend=sys.argv[2])
expected = pipe("a", steps=2).pixels
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=generate, args=(pipe, queue), daemon=True)
child.start()
try:
    assert np.array_equal(queue.get(timeout=300), expected)
finally:
    child.kill()
"""


def test_one_euler_step_with_trailing_timesteps_and_no_guidance(
    tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """As SD-Turbo is used."""
    folders = [
        Path(shutil.copytree(source, tmp_path / name))
        for name, source in (("bundle", tiny_bundle.path), ("checkpoint", tiny_checkpoint))
    ]
    for folder in folders:
        place = folder / "scheduler" / "scheduler_config.json"
        place.write_text(json.dumps({**json.loads(place.read_text()), "timestep_spacing": "trailing"}))
    write_manifest(folders[0], tiny_bundle.manifest)
    options: dict[str, Any] = {"steps": 1, "guidance": 0.0, "seed": 2**40 + 5, "scheduler": "euler"}
    found = TextToImage.load(folders[0], backend="onnxruntime")(PROMPT.split(",")[0], **options).pixels
    assert psnr_db(DiffusersImages(folders[1]).text(PROMPT.split(",")[0], **options), found) >= 80


def generate(bundle: Path, output: Path, backend: str, **environment: str) -> Any:
    command = [sys.executable, "-m", "mezzotint", "generate", bundle, PROMPT, "-o", output, "--steps", "1"]
    done = subprocess.run(
        [*map(str, command), "--backend", backend],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    with Image.open(output) as image:
        return np.asarray(image)


@pytest.mark.parametrize("backend", ENGINES)
def test_paths_beyond_ascii_in_a_locale_of_plain_c(tiny_bundle: Bundle, tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "模型 été" / "ü ber"
    shutil.copytree(tiny_bundle.path, folder)
    cache = str(tmp_path / "кэш")
    images = [
        generate(folder, tmp_path / f"图 {index}.png", backend, LC_ALL=locale, LANG=locale, XDG_CACHE_HOME=cache)
        for index, locale in enumerate(("C.UTF-8", "C"))  # the second finds what OpenVINO compiled for the first
    ]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("cache", ["/dev/null/cache", "/proc/1/cache", "relative"])
def test_a_home_that_cannot_be_written(tiny_bundle: Bundle, tmp_path: Path, cache: str) -> None:
    home = "/dev/null/home"
    generate(tiny_bundle.path, tmp_path / "out.png", "openvino", XDG_CACHE_HOME=cache, HOME=home)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("backend", ENGINES)
def test_a_pipeline_that_was_loaded_before_a_fork(tiny_bundle: Bundle, backend: str) -> None:
    """As gunicorn --preload and multiprocessing's "fork" do it."""
    command = [sys.executable, "-c", FORKED, str(tiny_bundle.path), backend]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
