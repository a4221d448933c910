"""`--controlnet`, `--t2i-adapter`, `--control`, `--guess-mode` and `mezzotint canny`, as they are typed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.runtime import Bundle, Control, TextToImage, canny, read_settings
from tests.cli.conftest import Cli
from tests.conftest import MakeOnce
from tests.families.tiny_control import Controlled, controlled, drawing
from tests.families.tiny_t2i_adapter import save_adapter

PROMPT = "a flat emoji of a red apple"


@pytest.fixture(scope="module")
def model(make_once: MakeOnce, tiny_checkpoint: Path) -> Controlled:
    return controlled(make_once, tiny_checkpoint)


@pytest.fixture(scope="module")
def bundle(model: Controlled) -> Bundle:
    return model.bundle


@pytest.fixture
def image(tmp_path: Path) -> Image.Image:
    """lines.png, of 16x16 pixels."""
    drawn = drawing(16, 16)
    drawn.save(tmp_path / "lines.png")
    return drawn


def pixels(path: str) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def test_generate_follows_images(cli: Cli, bundle: Bundle, image: Image.Image) -> None:
    asked = ("--control", "edges:lines.png:0.8:0-0.5", "--control", "depth:lines.png", "--guess-mode")
    common = ("--backend", "onnxruntime", "--steps", 4, "--guidance", 3)
    code, _, err = cli("generate", bundle.path, PROMPT, "-o", "out.png", *asked, *common)
    assert code == 0, err
    controls = [Control(name="edges", image=image, scale=0.8, end=0.5), Control(name="depth", image=image)]
    with TextToImage.load(bundle.path, backend="onnxruntime") as pipe:
        expected = pipe(PROMPT, controls=controls, guess_mode=True, steps=4, guidance=3.0)
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(expected.images[0]))
    assert read_settings("out.png") == expected.settings[0]
    again = ("--like", "out.png", "--backend", "onnxruntime", "-o", "again.png")
    code, _, err = cli("generate", bundle.path, *again)
    assert code == 2
    assert "followed the controls edges, depth" in err
    code, out, err = cli("generate", bundle.path, *again, *asked, "--json")
    assert code == 0, err
    np.testing.assert_array_equal(pixels("again.png"), pixels("out.png"))
    assert [use["name"] for use in json.loads(out)["images"][0]["settings"]["controls"]] == ["edges", "depth"]


def test_a_size_beyond_the_models_own_is_told(cli: Cli, bundle: Bundle, image: Image.Image) -> None:
    image.resize((20, 18)).save("large.png")
    asked = ("--backend", "onnxruntime", "--steps", 2)
    for name, options, told in (
        ("control", ("--control", "edges:large.png"), True),
        ("begun", ("--init-image", "large.png"), True),
        ("sized", ("--control", "edges:large.png", "--height", 16, "--width", 16), False),
        ("own", ("--control", "edges:lines.png"), False),
    ):
        code, _, err = cli("generate", bundle.path, PROMPT, "-o", f"{name}.png", *options, *asked)
        assert code == 0, err
        assert ("note: 20x18 pixels" in err) is told, name


def test_like_keeps_the_scale_and_the_window_that_are_not_typed(cli: Cli, bundle: Bundle, image: Image.Image) -> None:
    image.save("other.png")
    common = ("--backend", "onnxruntime", "--steps", 4)
    asked = ("--control", "edges:lines.png:0.8:0-0.5", "--control", "depth:lines.png:0.3")
    assert cli("generate", bundle.path, PROMPT, "-o", "out.png", *asked, *common)[0] == 0
    again = ("--control", "edges:other.png", "--control", "depth:other.png:0:0.5-1")
    code, _, err = cli("generate", bundle.path, "--like", "out.png", "-o", "again.png", *again, *common)
    assert code == 0, err
    uses = [(use.name, use.scale, use.start, use.end) for use in read_settings("again.png").controls]
    assert uses == [("edges", 0.8, 0.0, 0.5), ("depth", 0.0, 0.5, 1.0)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("edges", "--control is 'edges'"),
        (":lines.png", "--control is"),
        ("edges:", "--control is"),
        ("edges:lines.png:much", "--control is"),
        ("edges:lines.png:1:2:3", "lines.png:1:2"),
        ("edges:nowhere.png", "nowhere.png"),
        ("edges:lines.png:nan", "scale"),
        ("edges:lines.png:1:0.5-0.2", "its window"),
        ("pose:lines.png", "the control 'pose'"),
    ],
)
def test_what_is_mistyped_ends_in_a_sentence(
    given: str, words: str, cli: Cli, bundle: Bundle, image: Image.Image
) -> None:
    del image
    code, _, err = cli("generate", bundle.path, PROMPT, "-o", "out.png", "--control", given)
    assert code == 2
    assert words in " ".join(err.split())
    assert not Path("out.png").exists()


def test_a_path_with_colons_is_one(cli: Cli, bundle: Bundle, image: Image.Image) -> None:
    image.save("a:0.5.png")
    asked = ("--steps", 1, "--backend", "onnxruntime", "--control")
    assert cli("generate", bundle.path, PROMPT, "-o", "one.png", *asked, "edges:a:0.5.png")[0] == 0
    code, _, err = cli("generate", bundle.path, PROMPT, "-o", "two.png", *asked, "edges:a:0.5.png:-1:0.25-1")
    assert (code, "its window" in err) == (2, True)  # one step is the whole run
    assert read_settings("one.png").controls[0].scale == 1.0


def test_export_takes_one_and_inspect_names_it(cli: Cli, model: Controlled, bundle: Bundle) -> None:
    """The graphs are those of the shared bundle, to the byte."""
    code, out, err = cli("export", model.checkpoint, "-o", "own", "--controlnet", f"edges={model.nets['edges']}")
    assert code == 0, err
    assert "ControlNet edges" in out
    assert "ControlNet edges" in cli("inspect", "own")[1]
    for name in ("unet", "controlnet_edges"):
        assert Bundle.open("own").component(name).files == bundle.component(name).files
    card = Path("own/README.md").read_text(encoding="utf-8")
    assert "a ControlNet, off until a call asks for it" in card
    assert "ORTStableDiffusionPipeline" not in card


@pytest.mark.slow
def test_export_takes_a_t2i_adapter_and_generate_follows_it(
    cli: Cli, model: Controlled, image: Image.Image, tmp_path: Path
) -> None:
    del image
    save_adapter(tmp_path / "adapter", channels=[32])
    code, out, err = cli("export", model.checkpoint, "-o", "own", "--t2i-adapter", "depth=adapter")
    assert code == 0, err
    assert "T2I-adapter depth" in out
    assert "T2I-adapter depth" in cli("inspect", "own")[1]
    assert "a T2I-adapter, off until a call asks for it" in Path("own/README.md").read_text(encoding="utf-8")
    asked = ("-o", "one.png", "--steps", 2, "--control", "depth:lines.png:0.5:0-0.5")
    code, _, err = cli("generate", "own", PROMPT, *asked)
    assert code == 0, err
    assert [(use.name, use.scale, use.end) for use in read_settings("one.png").controls] == [("depth", 0.5, 0.5)]


def test_export_refuses_the_other_kind_of_folder(cli: Cli, model: Controlled) -> None:
    code, _, err = cli("export", model.checkpoint, "-o", "own", "--t2i-adapter", f"edges={model.nets['edges']}")
    assert code == 2
    assert "give it as --controlnet edges=" in " ".join(err.split())
    assert not Path("own").exists()


def test_canny_writes_edges(cli: Cli, image: Image.Image) -> None:
    assert cli("canny", "lines.png", "-o", "edges.png")[0] == 0
    np.testing.assert_array_equal(pixels("edges.png"), np.asarray(canny(image)))
    assert cli("canny", "lines.png", "-o", "edges.png")[0] == 2
    options: tuple[Any, ...] = ("--low", 10, "--high", 20, "--overwrite")
    assert cli("canny", "lines.png", "-o", "edges.png", *options)[0] == 0
    assert cli("canny", "lines.png", "-o", "other.png", "--low", 300)[0] == 2
    assert not Path("other.png").exists()
