"""What a call asks of ControlNets that there are none of, or that cannot be: each is refused by its parts."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle, Control, ControlUse, Inpaint, Settings, TextToImage
from mezzotint.runtime.metadata import parse_settings
from tests.conftest import MakeOnce
from tests.families.tiny_control import NAMES, controlled, drawing

PROMPT = "a flat emoji of a red apple"
IMAGE = drawing(16, 16)
HASH = "0" * 64


@pytest.fixture(scope="module")
def pipe(make_once: MakeOnce, tiny_checkpoint: Path) -> TextToImage:
    return TextToImage.load(controlled(make_once, tiny_checkpoint).bundle.path, backend="onnxruntime")


def refused(pipe: TextToImage, **options: Any) -> MezzotintError:
    with pytest.raises(MezzotintError) as caught:
        pipe(PROMPT, **{"steps": 4, "height": 16, "width": 16, **options})
    return caught.value


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"scale": float("nan")}, "scale"),
        ({"scale": float("inf")}, "scale"),
        ({"scale": 101.0}, "scale"),
        ({"scale": "much"}, "scale"),
        ({"start": 0.5, "end": 0.5}, "its window"),
        ({"start": 0.8, "end": 0.2}, "its window"),
        ({"start": -0.1}, "its window"),
        ({"end": 1.5}, "its window"),
        ({"start": float("nan")}, "start"),
        ({"start": 0.3, "end": 0.4}, "its window"),  # which holds none of four steps
    ],
)
def test_scales_and_windows_that_cannot_be(options: dict[str, Any], what: str, pipe: TextToImage) -> None:
    error = refused(pipe, controls=[Control(name="edges", image=IMAGE, **options)])
    assert (error.what, error.where) == (what, "the control edges")


def test_one_that_nobody_knows_names_those_that_are_there(pipe: TextToImage) -> None:
    error = refused(pipe, controls=[Control(name="pose", image=IMAGE)])
    assert "'pose'" in (error.what or "")
    assert set(error.expected or ()) == set(NAMES)


def test_a_bundle_without_any_says_so(pipe: TextToImage) -> None:
    bundle = Bundle(pipe.bundle.path, dataclasses.replace(pipe.bundle.manifest, controls=()))
    error = refused(TextToImage(bundle, pipe.choice, pipe.sessions), controls=[Control(name="edges", image=IMAGE)])
    assert error.where == bundle.path
    assert "has no ControlNets" in str(error.expected)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"controls": ["edges"]}, "controls"),
        ({"controls": Control(name="edges", image=IMAGE)}, "controls"),
        ({"controls": [Control(name="edges", image=None)]}, "the control edges has no image"),  # type: ignore[arg-type]
        ({"guess_mode": True}, "guess_mode is for ControlNets"),
        ({"guess_mode": "yes", "controls": [Control(name="edges", image=IMAGE)]}, "guess_mode"),
    ],
)
def test_odd_calls(options: dict[str, Any], what: str, pipe: TextToImage) -> None:
    assert refused(pipe, **options).what == what


def test_an_image_that_is_none_is_called_what_it_is(pipe: TextToImage) -> None:
    array = np.zeros((4, 4, 2), dtype=np.uint8)
    assert "image of the control edges" in str(refused(pipe, controls=[Control(name="edges", image=array)]))


def test_settings_have_hashes_and_not_the_images(pipe: TextToImage) -> None:
    use = ControlUse(name="edges", scale=1.0, start=0.0, end=1.0, image_sha256=HASH)
    with pytest.raises(MezzotintError) as caught:
        pipe.generate(Settings(PROMPT, steps=1, height=16, width=16, controls=(use,)))
    assert (caught.value.got, caught.value.expected) == (0, "1 images for them")
    with pytest.raises(MezzotintError) as caught:
        pipe.generate(Settings(PROMPT, steps=1, height=16, width=16), control_images=[IMAGE])
    assert caught.value.got == 1


def test_kinds_that_take_none(pipe: TextToImage) -> None:
    options: dict[str, Any] = {"controls": [Control(name="edges", image=IMAGE)], "steps": 4}
    with pytest.raises(MezzotintError) as caught:
        Inpaint.sharing(pipe)(PROMPT, IMAGE, Image.new("L", IMAGE.size, 255), **options)
    assert (caught.value.what, caught.value.got) == ("the controls of inpainting", ["edges"])
    with pytest.raises(MezzotintError) as caught:
        pipe.hand_over(PROMPT, at=0.5, **options)
    assert caught.value.what == "the controls of a run that another bundle finishes"


GOOD = dataclasses.asdict(ControlUse(name="edges", scale=1.0, start=0.0, end=1.0, image_sha256=HASH))


@pytest.mark.parametrize(
    ("controls", "what"),
    [
        ("edges", "controls"),
        ([1], "controls"),
        ([{"name": "edges"}], "controls"),
        ([{**GOOD, "image": "x"}], "controls"),
        ([{**GOOD, "name": 1}], "a control's name"),
        ([{**GOOD, "scale": True}], "scale"),
        ([{**GOOD, "scale": "1"}], "scale"),
        ([{**GOOD, "end": 0.0}], "its window"),
        ([{**GOOD, "image_sha256": "../../etc"}], "image_sha256"),
    ],
)
def test_settings_of_a_strange_file(controls: object, what: str) -> None:
    record = json.loads(json.dumps({"settings": {"prompt": "a", "controls": controls}}))
    with pytest.raises(MezzotintError) as caught:
        parse_settings(record, "strange.png")
    assert caught.value.what == what


def test_only_what_a_call_asks_for_is_loaded(pipe: TextToImage) -> None:
    with TextToImage.load(pipe.bundle.path, backend="onnxruntime", low_memory=True) as other:
        other(PROMPT, steps=1, controls=[Control(name="depth", image=IMAGE)])
        assert other.sessions.open_names == ()  # type: ignore[attr-defined]  # they are Sessions
    with TextToImage.load(pipe.bundle.path, backend="onnxruntime") as other:
        other(PROMPT, steps=1, controls=[Control(name="depth", image=IMAGE)])
        assert set(NAMES) & {name.partition("_")[2] for name in other.sessions.open_names} == {"depth"}  # type: ignore[attr-defined]
