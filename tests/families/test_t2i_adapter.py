"""T2I-adapters on tiny weights: the images are those of diffusers, and without controls the plain model's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from mezzotint.adapters.given_control import GivenControl
from mezzotint.arrays import Array
from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import psnr_db
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.runtime import Bundle, Control, ImageToImage, TextToImage, read_settings
from tests.conftest import MakeOnce
from tests.families.tiny_control import drawing, save_control_net
from tests.families.tiny_t2i_adapter import ADAPTERS, given, save_adapter, save_checkpoint, seen_by, told
from tests.runtime.scheduler_oracle import ORACLES

PROMPT = "a flat emoji of a red apple"
FLOOR_DB = 80.0
DEPTH = Control(name="depth", image=drawing(16, 16), scale=0.8)
SKETCH = Control(name="sketch", image=drawing(16, 16, seed=1), scale=1.4)
SIZE: dict[str, Any] = {"height": 16, "width": 16}


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A checkpoint, and the folders of its adapters, and of a ControlNet of it, by name."""

    checkpoint: Path
    adapters: Mapping[str, Path]
    net: Path

    def loaded(self, controls: Sequence[Control]) -> list[Any]:
        return [diffusers.T2IAdapter.from_pretrained(self.adapters[one.name]) for one in controls]


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, make_once: MakeOnce, tiny_checkpoint: Path) -> Adapted:
    levels: int = request.param
    configs = ADAPTERS[levels]

    def make(folder: Path) -> None:
        checkpoint = save_checkpoint(folder / "checkpoint", tiny_checkpoint, levels)
        save_control_net(checkpoint, folder / "edges", 0)
        for seed, (name, config) in enumerate(configs.items()):
            save_adapter(folder / name, seed, **config)

    folder = make_once(f"t2i-adapters-{levels}", make)
    adapters = {name: folder / name for name in configs}
    return Adapted(checkpoint=folder / "checkpoint", adapters=adapters, net=folder / "edges")


@pytest.fixture(scope="module")
def bundle(make_once: MakeOnce, model: Adapted) -> Bundle:
    """FP32, with both adapters. Not to be written to."""

    def make(folder: Path) -> None:
        export_checkpoint(str(model.checkpoint), folder, controls=given(model.adapters))

    return Bundle.open(make_once(f"t2i-adapters-fp32-{model.checkpoint.parent.name}", make))


@pytest.fixture(scope="module")
def pipe(bundle: Bundle) -> TextToImage:
    return TextToImage.load(bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def plain(model: Adapted) -> Any:
    return diffusers.StableDiffusionPipeline.from_pretrained(model.checkpoint)


Oracle = Callable[..., Array]


@pytest.fixture(scope="module")
def expected(model: Adapted, plain: Any) -> Oracle:
    """Of diffusers' own pipeline with the adapters of the controls."""

    def generate(prompts: list[str], controls: list[Control], **options: Any) -> Array:
        adapters = model.loaded(controls)
        parts = {**plain.components, "scheduler": ORACLES["ddim"].from_config(plain.scheduler.config)}
        del parts["image_encoder"]
        one_or_more = adapters if len(adapters) > 1 else adapters[0]
        oracle: Any = diffusers.StableDiffusionAdapterPipeline(
            **parts, adapter=one_or_more, requires_safety_checker=False
        )
        pairs = zip(adapters, controls, strict=True)
        images = [[seen_by(adapter, control)] * len(prompts) for adapter, control in pairs]  # it repeats none by itself
        scales = [control.scale for control in controls]
        return run(
            oracle,
            prompts,
            image=images if len(images) > 1 else images[0],
            adapter_conditioning_scale=scales if len(scales) > 1 else scales[0],
            **options,
        )

    return generate


def run(oracle: Any, prompts: list[str], **options: Any) -> Array:
    oracle.set_progress_bar_config(disable=True)
    seeds = [torch.Generator().manual_seed(3 + index) for index in range(len(prompts))]
    pixels: Array = oracle(prompts, generator=seeds, output_type="np", **options).images
    return pixels


CASES: dict[str, tuple[list[Control], dict[str, Any]]] = {
    "one": ([DEPTH], {"guidance": 4.0}),
    "a grey one without guidance": ([SKETCH], {"guidance": 1.0}),
    "two and another size": ([DEPTH, SKETCH], {"guidance": 4.0, "height": 32, "width": 24}),
}


@pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")  # of diffusers, in its own pipeline
@pytest.mark.parametrize("case", CASES)
def test_a_batch_is_that_of_diffusers(case: str, pipe: TextToImage, expected: Oracle) -> None:
    controls, options = CASES[case]
    prompts, sizes = [PROMPT, "a noto emoji of a cat"], {**SIZE, **options}
    guidance = sizes.pop("guidance")
    theirs = expected(prompts, controls, num_inference_steps=5, guidance_scale=guidance, **sizes)
    ours = pipe(prompts, controls=controls, scheduler="ddim", steps=5, guidance=guidance, seed=3, **sizes).pixels
    assert psnr_db(theirs, ours) > FLOOR_DB
    without = pipe(prompts, scheduler="ddim", steps=5, guidance=guidance, seed=3, **sizes).pixels
    assert psnr_db(theirs, without) < 40.0


def test_a_window_and_a_run_from_an_image(model: Adapted, pipe: TextToImage, plain: Any) -> None:
    """diffusers' pipelines know neither, but its UNet does."""
    controls = [replace(DEPTH, end=0.5), replace(SKETCH, start=0.25)]
    scheduler = ORACLES["ddim"].from_config(plain.scheduler.config)
    kinds: dict[str, Any] = {
        "text": diffusers.StableDiffusionPipeline,
        "image": diffusers.StableDiffusionImg2ImgPipeline,
    }
    parts = {**plain.components, "scheduler": scheduler}
    found: dict[str, Any] = {"text": pipe, "image": ImageToImage.sharing(pipe)}
    image = drawing(16, 16, seed=4)
    for name, kind in kinds.items():
        oracle = kind(**parts, requires_safety_checker=False)
        given_image = {"image": image, "strength": 1.0} if name == "image" else SIZE
        with told(oracle.unet, model.loaded(controls), controls, (16, 16), steps=4):
            theirs = run(oracle, [PROMPT], num_inference_steps=4, guidance_scale=4.0, **given_image)
        options: dict[str, Any] = {"controls": controls, "scheduler": "ddim", "steps": 4, "guidance": 4.0, "seed": 3}
        arguments = (PROMPT, image) if name == "image" else (PROMPT,)
        ours = found[name](*arguments, **options, **({"strength": 1.0} if name == "image" else SIZE)).pixels
        assert psnr_db(theirs, ours) > FLOOR_DB, name


def test_an_adapter_is_asked_once_an_image(pipe: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = Session.run

    def counting(self: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
        asked.append(self.name)
        return ask(self, feeds)

    monkeypatch.setattr(Session, "run", counting)
    pipe(PROMPT, count=2, controls=[DEPTH], steps=4, **SIZE)
    assert asked.count("t2i_adapter_depth") == 1
    assert asked.count("unet") == 4


@pytest.mark.parametrize("engine", [ONNXRUNTIME, pytest.param(OPENVINO, marks=pytest.mark.slow)])
def test_sides_that_no_level_divides(engine: Engine, model: Adapted, bundle: Bundle) -> None:
    """Latents of 15x11: what is left of an average at the border is the average of what is there."""
    image = np.random.default_rng(0).random((1, 3, 30, 22), dtype=np.float32)
    (adapter,), name = model.loaded([DEPTH]), "t2i_adapter_depth"
    with torch.no_grad():
        theirs = adapter(torch.from_numpy(image))
    component = bundle.component(name)
    session = Session.open(name, bundle.graph_path(name), component, engine, EngineOptions(Compute.F32))
    ours = session.run({"image": image})
    for spec, expected in zip(component.outputs, theirs, strict=True):
        np.testing.assert_allclose(ours[spec.name], expected.numpy(), atol=1e-4)


def test_without_controls_it_is_the_plain_model(pipe: TextToImage, plain: Any) -> None:
    parts = {**plain.components, "scheduler": ORACLES["ddim"].from_config(plain.scheduler.config)}
    oracle = diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False)
    theirs = run(oracle, [PROMPT], num_inference_steps=4, guidance_scale=4.0, **SIZE)
    options: dict[str, Any] = {"scheduler": "ddim", "steps": 4, "guidance": 4.0, "seed": 3, **SIZE}
    found = pipe(PROMPT, **options).pixels
    assert psnr_db(theirs, found) > FLOOR_DB
    off = replace(DEPTH, scale=0.0)
    np.testing.assert_array_equal(found, pipe(PROMPT, controls=[off], **options).pixels)


def test_the_manifest_and_the_settings_say_so(
    model: Adapted, bundle: Bundle, pipe: TextToImage, tmp_path: Path
) -> None:
    records = [(one.name, one.kind, one.component) for one in bundle.manifest.controls]
    assert records == [(name, ControlKind.T2I_ADAPTER, f"t2i_adapter_{name}") for name in model.adapters]
    unet, depth = bundle.component("unet"), bundle.component("t2i_adapter_depth")
    assert unet.inputs[3:] == depth.outputs
    expected = [(32, "height", "width"), (32, "height_2", "width_2")][: len(depth.outputs)]
    assert [spec.dims[1:] for spec in depth.outputs] == expected
    bundle.verify()
    result = pipe(PROMPT, controls=[DEPTH], steps=2, **SIZE)
    result.write(tmp_path / "one.png")
    again = pipe.generate(read_settings(tmp_path / "one.png"), control_images=[DEPTH.image])
    np.testing.assert_array_equal(again.pixels, result.pixels)


def test_guess_mode_is_for_control_nets(pipe: TextToImage) -> None:
    with pytest.raises(MezzotintError) as caught:
        pipe(PROMPT, controls=[DEPTH], guess_mode=True, steps=1)
    assert "depth is a T2I-adapter" in (caught.value.what or "")


@pytest.mark.slow
def test_beside_a_control_net(model: Adapted, plain: Any, tmp_path: Path) -> None:
    """Both lead the same run: diffusers' ControlNet pipeline, whose UNet is told of the adapter too."""
    nets = [GivenControl(name="edges", path=model.net)]
    adapters = given({"depth": model.adapters["depth"]})
    made = export_checkpoint(str(model.checkpoint), tmp_path / "both", controls=[*adapters, *nets])
    edges = Control(name="edges", image=drawing(16, 16, seed=5), scale=0.7)
    oracle = diffusers.StableDiffusionControlNetPipeline(
        **{**plain.components, "scheduler": ORACLES["ddim"].from_config(plain.scheduler.config)},
        controlnet=diffusers.ControlNetModel.from_pretrained(model.net),
        requires_safety_checker=False,
    )
    with told(oracle.unet, model.loaded([DEPTH]), [DEPTH], (16, 16), steps=4):
        theirs = run(
            oracle,
            [PROMPT],
            image=edges.image,
            controlnet_conditioning_scale=edges.scale,
            num_inference_steps=4,
            guidance_scale=4.0,
            **SIZE,
        )
    with TextToImage.load(made.path, backend="onnxruntime") as pipe:
        options: dict[str, Any] = {"scheduler": "ddim", "steps": 4, "guidance": 4.0, "seed": 3, **SIZE}
        assert psnr_db(theirs, pipe(PROMPT, controls=[edges, DEPTH], **options).pixels) > FLOOR_DB
