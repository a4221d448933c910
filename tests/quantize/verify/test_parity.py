"""Parity against numpy in double precision: guided for a UNet, with a floor, and nothing where no call can be made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from scipy.stats import trim_mean  # type: ignore[import-untyped]

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Storage
from mezzotint.errors import CheckFailed
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.graphs.graph_file import save_graph
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.verify.parity import FLOORS_DB, measure_parity
from tests.quantize.search.test_sensitivity import CHAIN, chain
from tests.quantize.small_calibration import small_calibration
from tests.quantize.small_graphs import activations, small_graph, weight_of

FEEDS = [activations(2, 5, 24, seed=seed) for seed in range(8)]
GUIDANCE = 3.0


@pytest.fixture
def calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CalibrationData:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return small_calibration(small_graph(CHAIN), tmp_path / "before", [{"x": x} for x in FEEDS], GUIDANCE)


def disturbed(size: float) -> ir.Model:
    """The graph with noise of that size, relative to the largest weight, on all weights."""
    model, random = small_graph(CHAIN), np.random.default_rng(0)
    for name in ("a.weight", "b.weight", "c.weight"):
        weight = weight_of(model, name)
        noisy = weight + size * np.abs(weight).max() * random.standard_normal(weight.shape)
        model.graph.initializers[name].const_value = ir.tensor(noisy.astype(np.float32), name=name)
    return model


def written(model: ir.Model, calibration: CalibrationData, folder: Path, storage: Storage = Storage.INT8) -> Component:
    """The component as `quantize` describes it, with its graph in `folder`."""
    save_graph(model, folder)
    return replace(calibration.bundle.component("unet"), storage=storage)


def figure_db(model: ir.Model, *, guided: bool) -> float:
    """What parity should be, by the definitions."""

    def output(values: Array) -> Array:
        negative, positive = np.split(values, 2)
        return negative + GUIDANCE * (positive - negative) if guided else values

    figures = []
    for x in FEEDS:
        clean, got = output(chain(small_graph(CHAIN), x)), output(chain(model, x))
        figures.append(10.0 * np.log10(np.sum(clean**2) / np.sum((clean - got) ** 2)))
    return float(trim_mean(figures, 0.25))


@pytest.mark.parametrize(("name", "guided"), [("unet", True), ("vae_decoder", False)])
@pytest.mark.parametrize("size", [1e-3, 1e-2])
def test_the_figure_is_numpys(
    name: str, guided: bool, size: float, calibration: CalibrationData, tmp_path: Path
) -> None:
    model = disturbed(size)
    component = written(disturbed(size), calibration, tmp_path / "after")
    parity = measure_parity(calibration, name, component, tmp_path / "after", find_target("onnxruntime"))
    assert parity is not None and parity.sqnr_db is not None
    assert not parity.identical
    assert parity.sqnr_db == pytest.approx(figure_db(model, guided=guided), abs=0.15)  # it is rounded to a tenth
    assert "onnxruntime" in parity.against


def test_the_graph_against_itself_is_identical(calibration: CalibrationData, tmp_path: Path) -> None:
    component = written(small_graph(CHAIN), calibration, tmp_path / "after")
    parity = measure_parity(calibration, "unet", component, tmp_path / "after", find_target("onnxruntime"))
    assert parity is not None
    assert (parity.identical, parity.sqnr_db) == (True, None)


@pytest.mark.parametrize(
    ("storage", "advised"), [(Storage.FLOAT16, "fp32"), (Storage.INT8_WEIGHTS, "fp16"), (Storage.INT8, "fp16")]
)
def test_below_the_floor_of_its_storage_a_graph_is_refused(
    storage: Storage, advised: str, calibration: CalibrationData, tmp_path: Path
) -> None:
    model = disturbed(0.3)
    figure = figure_db(model, guided=True)
    assert figure < min(FLOORS_DB.values())
    component = written(disturbed(0.3), calibration, tmp_path / "after", storage)
    with pytest.raises(CheckFailed) as refused:
        measure_parity(calibration, "unet", component, tmp_path / "after", find_target("onnxruntime"))
    assert all(part in str(refused.value) for part in ("unet", storage, f"{figure:.1f} dB", f"--set unet={advised}"))


def test_a_component_that_no_call_can_be_made_for_is_not_checked(calibration: CalibrationData, tmp_path: Path) -> None:
    component = written(disturbed(0.3), calibration, tmp_path / "after")
    assert measure_parity(calibration, "vae_encoder", component, tmp_path / "after", find_target("openvino")) is None
    unprompted = CalibrationData(calibration.bundle, (), calibration.settings, ())
    assert measure_parity(unprompted, "unet", component, tmp_path / "after", find_target("openvino")) is None
