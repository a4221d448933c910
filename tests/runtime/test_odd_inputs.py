"""Bad and odd input ends in a result or in a MezzotintError, never in anything else.

10,000 of them: 9,700 through parsers and checks, 300 up to an image; the fast suite takes every twentieth.
"""

import json
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Manifest
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, MezzotintError, TextToImage
from mezzotint.runtime.images.init_image import as_image, fitting_size, image_pixels, mask_pixels
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.settings import settings_of_batch
from mezzotint.runtime.text.prompt_weights import parse_weights
from mezzotint.runtime.text.tokenizer import ClipTokenizer
from tests.runtime.text.test_tokenizer import EMBEDDED, fuzzed

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    7,
    2**70,
    -0.0,
    0.5,
    1e308,
    math.inf,
    math.nan,
    "",
    "a",
    "25",
    [],
    [1],
    {},
    (0, 1),
)
SIGNS = (
    "(",
    ")",
    "[",
    "]",
    ":",
    "1.3",
    "-",
    ".",
    "\\",
    "BREAK",
    " BREAK ",
    "<lora:a:1>",
    "[a:b:0.5]",
    ":2)",
    "\ud800",
    "\x00",
)
DTYPES = ("uint8", "bool", "float32", "float64", "int64", "float16", "complex64", "U3")
GEOMETRY = Geometry(4, 4, 64, scaling_factor=0.5, shift_factor=0.0)
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "timestep_spacing": "trailing"}


def mostly(rng: random.Random, *good: Any) -> Any:
    """One of `good`, or now and then something odd: of several arguments, too many odd ones hide each other."""
    return rng.choice(good if rng.random() < 0.8 else ODD)


def odd_prompt(rng: random.Random, texts: list[str]) -> str:
    return "".join(rng.choice([*SIGNS, rng.choice(texts)[:200], "a"]) for _ in range(rng.randint(0, 12)))


def odd_array(rng: random.Random) -> Any:
    shape = tuple(rng.choice([0, 1, 3, 4, 5, 16, 33]) for _ in range(rng.randint(0, 4)))
    values = np.random.default_rng(rng.randrange(2**32)).uniform(0, rng.choice([1, 1, 300]), shape)
    if rng.random() < 0.1:
        values = values * np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # casting NaN
        return values.astype(rng.choice(DTYPES))


def odd_image(rng: random.Random) -> Any:
    if rng.random() < 0.5:
        return odd_array(rng)
    mode = rng.choice(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
    return Image.new(mode, (rng.randint(1, 40), rng.randint(1, 40)))


def changed(rng: random.Random, value: Any) -> Any:
    """JSON data with one thing somewhere in it replaced, dropped or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        copy = dict(value)
        if rng.random() < 0.1:
            del copy[name]
        elif rng.random() < 0.1:
            copy[rng.choice(["surprise", "", "__class__"])] = rng.choice(ODD)
        else:
            copy[name] = changed(rng, value[name])
        return copy
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = rng.randrange(len(value))
        return [*value[:index], changed(rng, value[index]), *value[index + 1 :]]
    return rng.choice(ODD)


def cut(rng: random.Random, text: str) -> str:
    """The text, sometimes cut, or with a sign replaced."""
    at = rng.randrange(len(text))
    return rng.choice([text, text, text[:at], text[:at] + rng.choice('{}[]",:0') + text[at + 1 :]])


def odd_options(rng: random.Random) -> dict[str, Any]:
    good: dict[str, Any] = {
        "negative_prompt": "b",
        "steps": rng.randint(1, 3),
        "guidance": 3.0,
        "seed": 3,
        "scheduler": rng.choice(SAMPLERS).name,
        "height": 16,
        "width": rng.choice([14, 16, None]),
        "guidance_rescale": 0.5,
        "guidance_interval": (0.0, 0.5),
        "prompt_syntax": "weighted",
        "rng": "torch",
        "vae_tiling": True,
        "clip_skip": 1,
    }
    chosen = {name: good[name] for name in rng.sample(sorted(good), rng.randint(0, len(good)))} | {
        "steps": good["steps"]
    }
    if rng.random() < 0.6:
        name = rng.choice(sorted(good))
        odd = rng.choice(ODD)
        chosen[name] = odd if not (name in ("height", "width") and odd in (7, 2**70)) else -8
    return chosen


@pytest.fixture(scope="module")
def checks(tiny_bundle: Bundle) -> list[Callable[[random.Random], object]]:
    """Everything that takes input and has no graph to run."""
    tokenizer, texts = ClipTokenizer.load(EMBEDDED), fuzzed(200, seed=5, fast_only=True)
    manifest = json.loads(tiny_bundle.manifest.to_json())
    configs = [tiny_bundle.config(f"{name}/config.json") for name in ("unet", "vae_decoder")]

    def prompts(rng: random.Random) -> object:
        sections = parse_weights(odd_prompt(rng, texts))
        return [tokenizer.tokens(fragment.text) for section in sections for fragment in section]

    def sizes(rng: random.Random) -> object:
        good: list[Any] = [None, 64, 4, 4096, np.int32(64)]
        return GEOMETRY.latent_shape(rng.choice([*ODD, *good]), rng.choice([*good, np.float32(64)]))

    def images(rng: random.Random) -> object:
        image = as_image(odd_image(rng))
        height, width = fitting_size(image, GEOMETRY, rng.choice([None, 16, 17]), rng.choice([None, 16]))
        return image_pixels(image, height, width)

    def masks(rng: random.Random) -> object:
        return mask_pixels(as_image(odd_image(rng), "mask"), 16, 16)

    def manifests(rng: random.Random) -> object:
        return Manifest.parse(cut(rng, json.dumps(changed(rng, manifest))))

    def schedulers(rng: random.Random) -> object:
        options = {**SCHEDULER, **{name: rng.choice(ODD) for name in rng.sample(SCHEDULER_OPTIONS, rng.randint(0, 2))}}
        config = SchedulerConfig.from_dict(options)
        return rng.choice(SAMPLERS).schedule(config, rng.choice([-1, 0, 1, 2, 20, 50, 999, 1000, 1001]))

    def geometries(rng: random.Random) -> object:
        unet, vae = (changed(rng, config) for config in configs)
        return Geometry.from_configs(unet, vae) if isinstance(unet, dict) and isinstance(vae, dict) else None

    def settings(rng: random.Random) -> object:
        options: Any = odd_options(rng)
        prompt, count = mostly(rng, "a", ["a", "b"]), mostly(rng, 1, 2)
        return settings_of_batch(prompt, count, options, mostly(rng, None, 0.5))

    return [prompts, sizes, images, masks, manifests, schedulers, geometries, settings]


SCHEDULER_OPTIONS = sorted(
    {
        *(
            "num_train_timesteps",
            "beta_start",
            "beta_end",
            "beta_schedule",
            "trained_betas",
            "prediction_type",
            "clip_sample",
        ),
        *("timestep_spacing", "steps_offset", "set_alpha_to_one", "clip_sample_range", "rescale_betas_zero_snr"),
        *("use_karras_sigmas", "thresholding", "solver_order", "final_sigmas_type", "surprise", "sigma_min", "_note"),
    }
)


def survives(act: Callable[[random.Random], object], seed: int) -> bool:
    """Whether `act` came to a result; False for a MezzotintError, and anything else is raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            act(random.Random(seed))
    except MezzotintError as error:
        assert str(error), "an error without a sentence"
        return False
    return True


@pytest.mark.parametrize("count", [480, pytest.param(9_700, marks=pytest.mark.slow)])
def test_parsers_and_checks_end_in_a_result_or_a_sentence(
    checks: list[Callable[[random.Random], object]], count: int
) -> None:
    outcomes: dict[str, set[bool]] = {}
    for index in range(count):
        check = checks[index % len(checks)]
        outcomes.setdefault(check.__name__, set()).add(survives(check, index))
    assert {name: len(seen) for name, seen in outcomes.items()} == dict.fromkeys(outcomes, 2)  # some pass, some do not


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_calls_end_in_an_image_or_a_sentence(tiny_bundle: Bundle, count: int) -> None:
    text = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    image, inpaint = ImageToImage.sharing(text), Inpaint.sharing(text)
    texts = fuzzed(200, seed=6, fast_only=True)
    generated = 0

    def generate(rng: random.Random) -> Array:
        prompt: Any = rng.choice([odd_prompt(rng, texts), "a", ["a", "b"]])
        options: Any = odd_options(rng)
        kind = rng.randrange(3)
        if kind == 0:
            return text(prompt, **options).pixels
        source: Any = odd_image(rng) if rng.random() < 0.5 else Image.new("RGB", (16, 16))
        strength: Any = rng.choice([1.0, 0.7, *ODD])
        if kind == 1:
            return image(prompt, source, strength=strength, **options).pixels
        return inpaint(prompt, source, odd_image(rng), strength=strength, **options).pixels

    for index in range(count):
        generated += survives(generate, index)
    assert 0.1 * count < generated < 0.9 * count


def test_broken_image_files_are_refused(tmp_path: Path) -> None:
    from mezzotint.runtime.images.files import read_image

    Image.effect_noise((32, 32), 50).save(tmp_path / "good.png")
    content = (tmp_path / "good.png").read_bytes()
    outcomes = set()
    for index in range(200):
        rng = random.Random(index)
        spoiled = bytearray(content[: rng.choice([len(content), rng.randrange(len(content))])])
        for _ in range(rng.randint(0, 3)):
            if spoiled:
                spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        (tmp_path / "spoiled.png").write_bytes(spoiled)
        outcomes.add(survives(lambda _rng: read_image(tmp_path / "spoiled.png"), index))
    assert outcomes == {True, False}
