"""AUTOMATIC1111's API through `webuiapi`, which sends some 45 fields each time, against the runtime's own images."""

import json
import threading
from typing import Any

import numpy as np
import pytest
import webuiapi
from PIL import Image

from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage
from tests.runtime.test_image_to_image import photo
from tests.serve.fakes import FakeMaker
from tests.serve.live import Live, wait_until

PROMPT = "a (red:1.2) apple"
SIZE = {"width": 16, "height": 16}


def client(server: Live) -> Any:
    return webuiapi.WebUIApi(baseurl=f"{server.url}/sdapi/v1", sampler="DDIM", steps=4)


@pytest.fixture(scope="module")
def pipe(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime", threads=1)


def same(answer: Any, expected: Image.Image) -> None:
    np.testing.assert_array_equal(np.asarray(answer.convert("RGB")), np.asarray(expected))


def test_text_to_image(tiny_server: Live, pipe: TextToImage) -> None:
    answer = client(tiny_server).txt2img(
        prompt=PROMPT, negative_prompt="blue", seed=11, cfg_scale=6, sampler_name="DPM++ 2M Karras",
        batch_size=2, n_iter=2, **SIZE,
    )  # fmt: skip
    expected = pipe(
        PROMPT, negative_prompt="blue", seed=11, guidance=6.0, scheduler="dpmpp-2m", schedule="karras", steps=4,
        prompt_syntax="weighted", count=4,
    )  # fmt: skip
    assert len(answer.images) == 4
    for image, one in zip(answer.images, expected.images, strict=True):
        same(image, one)
    assert answer.info["all_seeds"] == [11, 12, 13, 14]
    assert answer.info["sampler_name"] == "DPM++ 2M"
    assert answer.info["infotexts"][1].startswith(PROMPT)
    assert answer.parameters["steps"] == 4


def test_image_to_image(tiny_server: Live, pipe: TextToImage) -> None:
    source = photo(16, 16)
    answer = client(tiny_server).img2img(
        images=[source], prompt=PROMPT, seed=5, cfg_scale=7, denoising_strength=0.5, eta=0, **SIZE
    )
    options: Any = {"seed": 5, "guidance": 7.0, "scheduler": "ddim", "steps": 4, "prompt_syntax": "weighted"}
    same(answer.image, ImageToImage.sharing(pipe)(PROMPT, source, strength=0.5, **options).images[0])


@pytest.mark.parametrize("is_inverted", [False, True])
def test_inpainting_is_the_runtimes_own_under_the_mask_and_keeps_the_rest(
    tiny_server: Live, pipe: TextToImage, is_inverted: bool
) -> None:
    source, mask = photo(16, 16), Image.new("L", (16, 16))
    mask.paste(255, (8, 0, 16, 16) if is_inverted else (0, 0, 8, 16))
    answer = client(tiny_server).img2img(
        images=[source], mask_image=mask, prompt=PROMPT, seed=5, denoising_strength=0.75, eta=0, mask_blur=0,
        inpainting_fill=1, inpaint_full_res=False, inpainting_mask_invert=int(is_inverted), **SIZE,
    )  # fmt: skip
    white = Image.new("L", (16, 16))
    white.paste(255, (0, 0, 8, 16))
    options: Any = {"seed": 5, "guidance": 7.0, "scheduler": "ddim", "steps": 4, "prompt_syntax": "weighted"}
    painted = Inpaint.sharing(pipe)(PROMPT, source, white, strength=0.75, **options).images[0]
    found = np.asarray(answer.image.convert("RGB"))
    np.testing.assert_array_equal(found[:, :8], np.asarray(painted)[:, :8])
    np.testing.assert_array_equal(found[:, 8:], np.asarray(source)[:, 8:])


def test_with_its_own_defaults_it_inpaints_the_masked_part_at_full_size(tiny_server: Live) -> None:
    """webuiapi fills under the mask and generates the part around it alone."""
    source, mask = photo(32, 48), Image.new("L", (48, 32))
    mask.paste(255, (20, 8, 30, 18))
    answer = client(tiny_server).img2img(images=[source], mask_image=mask, prompt=PROMPT, seed=5, mask_blur=1, **SIZE)
    found, before = np.asarray(answer.image.convert("RGB")), np.asarray(source)
    assert found.shape == before.shape
    far = np.ones(before.shape[:2], dtype=bool)
    far[3:23, 15:35] = False
    np.testing.assert_array_equal(found[far], before[far])
    assert not np.array_equal(found[10:16, 22:28], before[10:16, 22:28])


def test_options_models_and_png_info(tiny_server: Live) -> None:
    api = client(tiny_server)
    options = api.get_options()
    assert options["sd_model_checkpoint"].startswith("tiny [")
    api.set_options({**options, "CLIP_stop_at_last_layers": 1})
    api.util_set_model("tiny")
    assert api.util_get_model_names() == [options["sd_model_checkpoint"]]
    assert {one["name"] for one in api.get_samplers()} >= {"Euler a", "DPM++ 2M", "DDIM"}
    assert {one["label"] for one in api.get_schedulers()} >= {"Automatic", "Karras"}
    for ask in (api.get_upscalers, api.get_hypernetworks, api.get_face_restorers, api.get_prompt_styles, api.get_loras):
        assert ask() == []
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    image = api.txt2img(prompt="a cat", seed=3, steps=2, **SIZE).image
    found = api.png_info(image)
    assert found.info.startswith("a cat\nSteps: 2")
    assert found.parameters["Seed"] == "3"
    assert api.get_memory()["ram"]["used"] > 0
    api.refresh_checkpoints()
    assert api.get_progress()["state"]["job_count"] == 0


def in_thread(call: Any) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def test_progress_and_an_interrupt_that_keeps_the_image(fake: Live, maker: FakeMaker) -> None:
    api = client(fake)
    assert api.get_progress()["progress"] == 0.0
    maker.hold = True
    thread, answers = in_thread(lambda: api.txt2img(prompt="a cat", seed=9, steps=8, n_iter=1, **SIZE))
    state = wait_until(lambda: api.get_progress(), lambda seen: seen["state"]["job_count"] == 1)
    assert state["progress"] >= 0.01
    api.interrupt()
    thread.join()
    assert answers[0].info["seed"] == 9
    assert api.get_progress()["state"]["job"] == ""


def test_a_skip_ends_one_image_of_several(tiny_server: Live) -> None:
    api = client(tiny_server)
    thread, answers = in_thread(lambda: api.txt2img(prompt="a cat", seed=9, steps=150, n_iter=3, **SIZE))
    wait_until(lambda: api.get_progress(), lambda seen: seen["state"]["sampling_step"] > 0)
    api.skip()
    wait_until(lambda: api.get_progress(), lambda seen: seen["state"]["job_no"] > 0)
    api.interrupt()
    thread.join()
    assert 2 <= len(answers[0].images) <= 3


def test_info_is_json_in_a_text(fake: Live) -> None:
    answer = fake.client.post("/sdapi/v1/txt2img", json={"prompt": "a cat", "steps": 2}).json()
    info = json.loads(answer["info"])
    wanted = (
        "seed all_seeds subseed all_subseeds infotexts prompt all_prompts negative_prompt all_negative_prompts width "
    )
    wanted += (
        "height sampler_name cfg_scale steps batch_size sd_model_name sd_model_hash job_timestamp clip_skip version "
    )
    wanted += "index_of_first_image styles extra_generation_params"
    assert set(wanted.split()) <= set(info)
