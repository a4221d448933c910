"""Bundles with a shallow graph: what is in them, that both graphs are what they are called, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import write_manifest
from mezzotint.bundle.control_record import AddedControl, ControlKind
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.shallow import DEEP_FILE, FEATURE, SHALLOW_FILE
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import choose_engine
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.quantize.adapt.relower import relowered
from mezzotint.quantize.graphs.graph_file import load_graph
from mezzotint.quantize.graphs.shallow import settle_layers
from mezzotint.quantize.lower.storages import check_approximated
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.approximations import find_approximations
from mezzotint.runtime import Bundle, TextToImage
from tests.conftest import MakeOnce
from tests.runtime.shallow_bundle import cached_bundle

PROMPTS = ("a red apple", "a dog on a blue background")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=4, guidance=3.0, calls=8, seed=3)
RUN: dict[str, Any] = {"scheduler": "ddim", "steps": 4, "guidance": 3.0, "seed": 5}


def quantized(source: Bundle, output: Path, target: str, recipe: str, *approximations: str) -> Bundle:
    return quantize_bundle(
        source.path,
        output,
        recipe=recipe,
        target=target,
        prompts=PROMPTS,
        settings=SETTINGS,
        approximations=approximations,
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
@pytest.mark.parametrize("recipe", ["fp16", "int8"])
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_the_whole_graph_is_what_it_was_and_the_shallow_one_computes_less(
    target: str, recipe: str, make_once: MakeOnce, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip(target)
    bundle = quantized(tiny_bundle, tmp_path / "cached", target, recipe, "deep-cache")
    plain = quantized(tiny_bundle, tmp_path / "plain", target, recipe)
    assert bundle.verify() > plain.verify()
    unet, before = bundle.component("unet"), plain.component("unet")
    same = replace(unet, files=before.files, shallow=None)
    assert same == before
    audits = [audit_bundle(bundle, target, name) for name in ("unet", "unet.deep", "unet.shallow")]
    assert all(audit.int8_coverage >= 0.99 for audit in audits)
    assert all(bool(audit.promised) is (recipe == "int8") for audit in audits)
    own, deep, shallow = (sum(kernel.macs for kernel in audit.kernels) for audit in audits)
    assert own == deep
    assert shallow < 0.6 * deep
    floats = cached_bundle(make_once, tiny_bundle, target)
    with (
        TextToImage.load(bundle.path) as pipe,
        TextToImage.load(plain.path) as other,
        TextToImage.load(floats.path) as exact,
    ):
        images = {one: pipe("a red apple", cache_interval=one, **RUN).pixels for one in (1, 2)}
        np.testing.assert_array_equal(images[1], other("a red apple", **RUN).pixels)
        assert not np.array_equal(images[1], images[2])
        figures = [psnr_db(exact("a red apple", cache_interval=n, **RUN).pixels, images[n]) for n in (1, 2)]
    assert figures[1] >= figures[0] - 3.0  # the grids, which whole calls calibrated, hold in shallow ones


@pytest.fixture(scope="module")
def layered(make_once: MakeOnce, tiny_bundle: Bundle) -> Callable[[int], Bundle]:
    """The tiny bundle in FP32 with a shallow graph of so many layers."""
    return lambda layers: cached_bundle(make_once, tiny_bundle, "onnxruntime", f"deep-cache:{layers}")


def opened(bundle: Bundle, name: str) -> Session:
    engine, component = choose_engine(bundle.manifest, "auto").engine, bundle.component(name)
    return Session.open(name, bundle.graph_path(name), component, engine, EngineOptions(component.compute, None))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_shallow_graph_ends_a_whole_call(
    layers: int, height: int, width: int, layered: Callable[[int], Bundle]
) -> None:
    """With the feature of the same call it says the same, whatever its layers and the size."""
    bundle = layered(layers)
    random = np.random.default_rng(layers)
    feeds: dict[str, Array] = {
        "sample": random.standard_normal((2, 4, height, width)).astype(np.float32),
        "timestep": np.asarray(401.0, dtype=np.float32),
        "encoder_hidden_states": random.standard_normal((2, 32, 32)).astype(np.float32),
    }
    expected = opened(bundle, "unet.deep").run(feeds)
    shallow = opened(bundle, "unet.shallow")
    read = {name: array for name, array in feeds.items() if name in {one.name for one in shallow.component.inputs}}
    found = shallow.run({**read, FEATURE: expected[FEATURE]})
    assert list(found) == ["out_sample"]
    assert sqnr_db(expected["out_sample"], found["out_sample"]) > 100.0
    spec = shallow.component.inputs[-1]
    level = expected[FEATURE].shape[2:]
    assert level == ((height, width) if spec.dims[2:] == ("height", "width") else (-(-height // 2), -(-width // 2)))


def test_all_graphs_read_one_file_of_weights(layered: Callable[[int], Bundle]) -> None:
    bundle = layered(1)
    unet = bundle.component("unet")
    assert [Path(entry.path).name for entry in unet.files] == ["model.onnx", "model.onnx_data", DEEP_FILE, SHALLOW_FILE]
    for name, file in (("unet.deep", DEEP_FILE), ("unet.shallow", SHALLOW_FILE)):
        assert bundle.component(name).files[0].path == f"unet/{file}"
        weights = [one.const_value for one in ir.load(bundle.graph_path(name)).graph.initializers.values()]
        assert {one.location for one in weights if isinstance(one, ir.ExternalTensor)} == {"model.onnx_data"}
        assert sum(one.nbytes for one in weights if one is not None and not isinstance(one, ir.ExternalTensor)) < 10_000


@pytest.mark.parametrize("change", [{"file": "unet/other.onnx"}, {"deep": "unet/x"}, {"inputs": ("sample", "noise")}])
def test_a_manifest_whose_shallow_graph_is_of_something_else_is_refused(
    change: dict[str, Any], layered: Callable[[int], Bundle], tmp_path: Path
) -> None:
    bundle = layered(1)
    unet = bundle.component("unet")
    assert unet.shallow is not None
    spoilt: Component = replace(unet, shallow=replace(unet.shallow, **change))
    write_manifest(tmp_path, replace(bundle.manifest, components={"unet": spoilt}, files=()))
    with pytest.raises(MezzotintError, match="shallow graph"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("layers", [4, 5])
def test_more_layers_than_there_are_is_refused(layers: int, tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError) as refused:
        quantized(tiny_bundle, tmp_path / "out", "onnxruntime", "fp16", f"deep-cache:{layers}")
    assert (refused.value.got, refused.value.expected) == (layers, "1 to 3")
    assert not (tmp_path / "out").exists()


def test_a_graph_without_a_way_up_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match="deep-cache"):
        settle_layers(load_graph(tiny_bundle.graph_path("vae_decoder")).graph, None)


@pytest.mark.parametrize("names", [["deep-cache:0"], ["deep-cache:x"], ["deep-cache:"], ["deep-cache:1", "deep-cache"]])
def test_layers_that_are_no_number_are_refused(names: list[str]) -> None:
    with pytest.raises(MezzotintError, match="deep-cache"):
        find_approximations(names)


@pytest.mark.parametrize("target", ["cuda", "tensorrt"])
def test_targets_that_no_gpu_has_run_it_on_refuse_it(target: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="deep-cache is for openvino and onnxruntime"):
        quantized(tiny_bundle, tmp_path / "out", target, "fp16", "deep-cache")


def test_a_bundle_with_controls_refuses_it(tiny_bundle: Bundle) -> None:
    control = AddedControl(name="edges", source="edges", sha256="ab" * 32, kind=ControlKind.CONTROLNET)
    controlled = replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, controls=(control,)))
    storages: Any = dict.fromkeys(("unet",), "fp16")
    with pytest.raises(MezzotintError, match="edges"):
        check_approximated(controlled, storages, find_target("openvino"), find_approximations(["deep-cache"]))


def test_adapters_belong_to_the_bundle_that_it_was_made_from(
    layered: Callable[[int], Bundle], tiny_bundle: Bundle
) -> None:
    with pytest.raises(MezzotintError, match="shallow graph"):
        relowered(layered(1), "unet", load_graph(tiny_bundle.graph_path("unet")))
