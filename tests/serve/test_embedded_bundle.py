"""The embedded model in INT8 behind real sockets: official clients get the pixels of `mezzotint generate`."""

import base64
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import webuiapi
from PIL import Image

from mezzotint.runtime import Bundle
from mezzotint.serve.work.engine_options import EngineChoice
from mezzotint.serve.work.process import ProcessWorker
from tests.runtime.test_image_to_image import photo
from tests.serve.live import Live, live

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # NNCF's imports
]
PROMPT = "a flat emoji of a red apple on a blue background"
Generate = Callable[..., Any]


@pytest.fixture(scope="module")
def bundle(demo_int8: Callable[[str], Bundle]) -> Bundle:
    pytest.importorskip("openvino")
    return demo_int8("openvino")


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "demo").symlink_to(bundle.path, target_is_directory=True)
    choice = EngineChoice(backend="openvino", threads=1)
    with live(folder, start_worker=lambda path, profile: ProcessWorker(path, choice, profile)) as server:
        yield server


@pytest.fixture
def generate(bundle: Bundle, tmp_path: Path, repo_root: Path) -> Generate:
    """`mezzotint generate` in a process of its own; options as on the command line."""

    def generated(*options: object) -> Any:
        output = tmp_path / "generated.png"
        command = [sys.executable, "-m", "mezzotint", "generate", bundle.path, PROMPT, "-o", output, "--overwrite"]
        engine = ("--backend", "openvino", "--threads", 1)
        subprocess.run([str(word) for word in (*command, *engine, *options)], check=True, cwd=repo_root)
        return pixels(Image.open(output))

    return generated


def pixels(image: Image.Image) -> Any:
    return np.asarray(image.convert("RGB"))


def decoded(text: str | None) -> Any:
    return pixels(Image.open(io.BytesIO(base64.b64decode(text or ""))))


def file_of(image: Image.Image) -> tuple[str, bytes, str]:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return ("image.png", content.getvalue(), "image/png")


def test_openais_client(server: Live, generate: Generate, tmp_path: Path) -> None:
    extra: Any = {"seed": 4, "num_inference_steps": 8, "guidance_scale": 6.0}
    options = ("--seed", 4, "--steps", 8, "--guidance", 6.0)
    photo(64, 64).save(tmp_path / "photo.png")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        made = client.images.generate(prompt=PROMPT, size="64x64", extra_body=extra)
        edited = client.images.edit(image=file_of(photo(64, 64)), prompt=PROMPT, extra_body={**extra, "strength": 0.5})
        stream = client.images.generate(prompt=PROMPT, stream=True, partial_images=2, extra_body=extra)
        streamed = list(stream)
    assert made.data is not None
    np.testing.assert_array_equal(decoded(made.data[0].b64_json), generate(*options))
    assert [event.type for event in streamed][-1] == "image_generation.completed"
    np.testing.assert_array_equal(decoded(streamed[-1].b64_json), generate(*options))
    assert edited.data is not None
    from_photo = generate(*options, "--init-image", tmp_path / "photo.png", "--strength", 0.5)
    np.testing.assert_array_equal(decoded(edited.data[0].b64_json), from_photo)


def test_webuiapi(server: Live, generate: Generate, tmp_path: Path) -> None:
    api = webuiapi.WebUIApi(baseurl=f"{server.url}/sdapi/v1", sampler="DDIM", steps=8)
    size: Any = {"width": 64, "height": 64}
    options = ("--seed", 11, "--steps", 8, "--guidance", 6, "--scheduler", "ddim", "--prompt-syntax", "weighted")
    photo(64, 64).save(tmp_path / "photo.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    mask.save(tmp_path / "mask.png")
    start = ("--init-image", tmp_path / "photo.png", "--strength", 0.5)
    made = api.txt2img(prompt=PROMPT, seed=11, cfg_scale=6, eta=0, **size)
    np.testing.assert_array_equal(pixels(made.image), generate(*options))
    again = api.img2img(
        images=[photo(64, 64)], prompt=PROMPT, seed=11, cfg_scale=6, denoising_strength=0.5, eta=0, **size
    )
    np.testing.assert_array_equal(pixels(again.image), generate(*options, *start))
    painted = api.img2img(
        images=[photo(64, 64)], mask_image=mask, prompt=PROMPT, seed=11, cfg_scale=6, denoising_strength=0.5, eta=0,
        mask_blur=0, inpainting_fill=1, inpaint_full_res=False, **size,
    )  # fmt: skip
    expected = generate(*options, *start, "--mask", tmp_path / "mask.png")
    np.testing.assert_array_equal(pixels(painted.image)[:, :32], expected[:, :32])
    found = api.png_info(made.image)
    assert found.parameters["Seed"] == "11"
    assert api.get_options()["sd_model_checkpoint"].startswith("demo [")
