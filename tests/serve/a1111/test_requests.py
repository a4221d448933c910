"""What AUTOMATIC1111's clients send: neutral values are taken, what would change the image is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from mezzotint.serve.a1111.infotext import parse_infotext, settings_of
from mezzotint.serve.a1111.names import find_sampling
from mezzotint.serve.web.limits import RequestLimits
from mezzotint.serve.web.refusal import Refusal
from tests.serve.fakes import FakeMaker
from tests.serve.live import Live, live

NEUTRAL = {
    "subseed": -1, "subseed_strength": 0, "seed_resize_from_h": -1, "seed_resize_from_w": 0, "restore_faces": None,
    "tiling": False, "eta": 1, "s_churn": 0, "s_tmin": 0, "s_tmax": None, "s_noise": 1, "do_not_save_grid": True,
    "firstphase_width": 0, "hr_scale": "1.0", "hr_second_pass_steps": 12.5, "denoising_strength": None,
    "styles": [None], "image_cfg_scale": 1.5, "initial_noise_multiplier": 1, "clip_skip": 1, "enable_hr": False,
    "alwayson_scripts": {}, "script_name": None, "script_args": [], "url": "http://127.0.0.1:1/", "auth": "a:b",
    "override_settings": {
        "CLIP_stop_at_last_layers": 1.0, "sd_vae": "Automatic", "eta_noise_seed_delta": 0.0,
        "ddim_discretize": "uniform", "img2img_fix_steps": False, "sd_hypernetwork": "None",
        "inpainting_mask_weight": 1.0, "comma_padding_backtrack": 20.0, "forge_additional_modules": [],
    },
}  # fmt: skip


def ask(server: Live, **fields: Any) -> Any:
    return server.client.post("/sdapi/v1/txt2img", json={"prompt": "a cat", "steps": 2, **fields})


def test_neutral_values_are_taken(fake: Live) -> None:
    assert ask(fake, **NEUTRAL).status_code == 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"enable_hr": True}, "enable_hr"),
        ({"restore_faces": True}, "restore_faces"),
        ({"tiling": True}, "tiling"),
        ({"subseed_strength": 0.5}, "subseed_strength"),
        ({"s_churn": 1}, "s_churn"),
        ({"script_name": "x/y plot"}, "script_name"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"enabled": True}]}}}, "ControlNet"),
        ({"styles": ["cinematic"]}, "styles"),
        ({"override_settings": {"sd_vae": "other.pt"}}, "sd_vae"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 2.5}}, "CLIP_stop_at_last_layers"),
        ({"sampler_name": "Euler a", "eta": 0.3}, "eta"),
        ({"prompt": "[a:b:0.5]"}, "[a:b:0.5]"),
        ({"prompt": "<lora:x:1>"}, "lora"),
        ({"scheduler": "magic"}, "scheduler"),
    ],
)
def test_what_would_change_the_image_is_refused_by_name(fake: Live, fields: dict[str, Any], named: str) -> None:
    answer = ask(fake, **fields)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


def test_two_answers_are_as_clients_look_for_them(fake: Live) -> None:
    answer = ask(fake, sampler_name="Restart")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Sampler not found")
    answer = fake.client.post("/sdapi/v1/img2img", json={"prompt": "a cat"})
    assert (answer.status_code, answer.json()["detail"]) == (404, "Init image not found")
    assert fake.client.get("/sdapi/v1/none").status_code == 404


@pytest.mark.parametrize(
    ("sampler", "scheduler", "ours"),
    [
        (None, None, ("euler", None)),
        ("DPM++ 2M", None, ("dpmpp-2m", "karras")),
        ("DPM++ 2M", "automatic", ("dpmpp-2m", "karras")),
        ("DPM++ 2M", "Uniform", ("dpmpp-2m", None)),
        ("DPM++ 2M", "sgm_uniform", ("dpmpp-2m", "sgm_uniform")),
        ("DPM++ 2M SDE", None, ("dpmpp-2m-sde", "exponential")),
        ("DPM++ 2M SDE Karras", "Automatic", ("dpmpp-2m-sde", "karras")),
        ("Euler a", "Exponential", ("euler-ancestral", "exponential")),
        ("euler a", None, ("euler-ancestral", None)),
        ("k_euler", None, ("euler", None)),
    ],
)
def test_samplers_and_schedules(sampler: str | None, scheduler: str | None, ours: tuple[str, str | None]) -> None:
    assert find_sampling(sampler, scheduler) == ours


@pytest.mark.parametrize("sampler", ["DPM++ 2S a", "DPM++ SDE", "DPM2 a", "Magic", " Karras"])
def test_samplers_that_there_are_not(sampler: str) -> None:
    with pytest.raises(Refusal) as caught:
        find_sampling(sampler, None)
    assert (caught.value.status, caught.value.sentence) == (404, "Sampler not found")


INFOTEXT = """a cat, (sitting:1.2)
on grass
Negative prompt: blurry,
ugly
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 123, Size: 512x768, Model: "a, b", V: 1"""


def test_infotexts_are_read_as_that_interface_reads_them() -> None:
    found = parse_infotext(INFOTEXT)
    assert found["Prompt"] == "a cat, (sitting:1.2)\non grass"
    assert found["Negative prompt"] == "blurry,\nugly"
    assert (found["Size-1"], found["Size-2"], found["Model"]) == ("512", "768", "a, b")
    settings = settings_of(INFOTEXT)
    assert (settings["scheduler"], settings["schedule"], settings["steps"]) == ("dpmpp-2m", "karras", 20)
    assert settings_of("just words: here") == {
        "prompt": "just words: here", "negative_prompt": None, "prompt_syntax": "weighted", "scheduler": "euler",
        "schedule": None,
    }  # fmt: skip


def open_webui(server: Live) -> list[Any]:
    """As its routers/images.py: the whole of the options goes back with one key changed; statuses are not looked at."""
    options = server.client.get("/sdapi/v1/options", headers={"authorization": ""})
    models = server.client.get("/sdapi/v1/sd-models")
    back = server.client.post(
        "/sdapi/v1/options", json={**options.json(), "sd_model_checkpoint": models.json()[0]["title"]}
    )
    body = {"prompt": "a cat", "batch_size": 2, "width": 512, "height": 512, "steps": 3, "negative_prompt": ""}
    images = server.client.post("/sdapi/v1/txt2img", json=body)
    assert len(images.json()["images"]) == 2 and images.json()["info"]
    return [options, models, back, images]


def silly_tavern(server: Live) -> list[Any]:
    """As its src/endpoints/stable-diffusion.js: Basic always, the whole of its form, no seed where it is random."""
    basic = {"authorization": "Basic Og=="}
    gets = [
        server.client.get(f"/sdapi/v1/{name}", headers=basic)
        for name in (
            "options",
            "sd-models",
            "samplers",
            "schedulers",
            "upscalers",
            "latent-upscale-modes",
            "sd-vae",
            "progress",
        )
    ]
    assert "forge_preset" not in gets[0].json()
    body = {
        "url": "http://localhost:7860", "auth": "", "prompt": "a cat", "negative_prompt": "", "sampler_name": "Euler a",
        "scheduler": "automatic", "steps": 5, "cfg_scale": 7, "width": 512, "height": 512, "clip_skip": 1,
        "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 2, "denoising_strength": 0.7,
        "hr_second_pass_steps": 0, "save_images": True, "send_images": True, "do_not_save_grid": False,
        "do_not_save_samples": False, "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"},
        "override_settings_restore_afterwards": True,
    }  # fmt: skip
    answer = server.client.post("/sdapi/v1/txt2img", json=body, headers=basic)
    assert answer.json()["images"][0]
    return [*gets, answer, server.client.post("/sdapi/v1/interrupt", headers=basic)]


def libre_chat(server: Live) -> list[Any]:
    """As its StableDiffusion tool: 1024x1024, and the first infotext of a text that is JSON."""
    import json

    body = {"prompt": "a cat", "negative_prompt": "dog", "cfg_scale": 4.5, "steps": 22, "width": 1024, "height": 1024}
    answer = server.client.post("/sdapi/v1/txt2img", json=body)
    info = json.loads(answer.json()["info"])
    assert (info["infotexts"][0], info["width"], info["height"]) and info["seed"] >= 0
    return [answer]


def aiyabot(server: Live) -> list[Any]:
    """As it starts: eight lists; then by sampler_index, with a style that is null and half a number of steps."""
    names = (
        "cmd-flags",
        "samplers",
        "prompt-styles",
        "face-restorers",
        "embeddings",
        "hypernetworks",
        "upscalers",
        "sd-models",
        "loras",
        "options",
    )
    gets = [server.client.get(f"/sdapi/v1/{name}") for name in names]
    assert server.client.head("/").status_code == 200
    assert server.client.get("/config").json()["error"]["code"] == "not_found"
    assert {"loaded", "skipped"} == set(gets[4].json())
    body = {
        "prompt": "a cat", "negative_prompt": "", "steps": 3, "width": 512, "height": 512, "cfg_scale": 7.0,
        "sampler_index": "Euler a", "seed": 1, "n_iter": 1, "batch_size": 1, "restore_faces": False, "styles": [None],
        "denoising_strength": None, "hr_second_pass_steps": 1.5, "enable_hr": False,
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_model_checkpoint": gets[7].json()[0]["title"]},
    }  # fmt: skip
    answer = server.client.post("/sdapi/v1/txt2img", json=body)
    progress = server.client.get("/sdapi/v1/progress")
    assert progress.json()["state"]["job"] == ""
    return [*gets, answer, progress, server.client.post("/sdapi/v1/skip")]


def kobold_lite(server: Live) -> list[Any]:
    """From a browser's page on another origin, with numbers as floats."""
    headers = {"Origin": "http://localhost:5001"}
    preflight = server.client.options("/sdapi/v1/txt2img", headers={**headers, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    body = {
        "prompt": "a cat", "sampler_name": "Euler", "batch_size": 1, "n_iter": 1, "steps": 4, "cfg_scale": 7.0,
        "width": 512, "height": 512, "seed": -1, "do_not_save_samples": True,
        "override_settings": {"eta_noise_seed_delta": 0.0, "filter_nsfw": False, "CLIP_stop_at_last_layers": 1.0},
    }  # fmt: skip
    answer = server.client.post("/sdapi/v1/txt2img", json=body, headers=headers)
    assert answer.headers["access-control-allow-origin"] == headers["Origin"]
    return [preflight, server.client.get("/sdapi/v1/options", headers=headers), answer]


def text_generation_webui(server: Live) -> list[Any]:
    """Its buttons post a body of an empty text."""
    bodies = [server.client.post(f"/sdapi/v1/{name}", json="") for name in ("unload-checkpoint", "reload-checkpoint")]
    body = {"prompt": "a cat", "seed": -1, "sampler_name": "DDIM", "enable_hr": False, "hr_scale": "1.0", "steps": 3}
    return [*bodies, server.client.post("/sdapi/v1/txt2img", json=body)]


@pytest.mark.parametrize(
    "replay",
    [open_webui, silly_tavern, libre_chat, aiyabot, kobold_lite, text_generation_webui],
    ids=lambda one: str(one.__name__),
)
def test_what_clients_send_is_answered(replay: Any, bundles: Path) -> None:
    """Written from what their sources send; the fake maker has images of any size."""
    limits = RequestLimits(most_scale=64.0)
    with live(bundles, FakeMaker, limits=limits, cors_origins=("http://localhost:5001",)) as server:
        for answer in replay(server):
            assert answer.status_code in (200, 204), (answer.url, answer.text)
