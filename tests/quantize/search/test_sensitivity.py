"""The noise of each node alone is what numpy in double precision gives for that node's input on its grid."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import Quantizer, dequantize, quantize
from mezzotint.arrays import Array
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.graphs.graph_file import save_graph
from mezzotint.quantize.search.sensitivity import noise_alone, with_switches
from tests.quantize.small_calibration import small_calibration
from tests.quantize.small_graphs import activations, grid, operators, run, small_graph, weight_of

CHAIN = """
small (float[n,t,24] x, float[24,24] "a.weight", float[24,24] "b.weight", float[24,16] "c.weight") => (float[n,t,16] y)
{ ["a/MatMul"] a = MatMul(x, "a.weight")
  ["a/Tanh"] s = Tanh(a)
  ["b/MatMul"] b = MatMul(s, "b.weight")
  ["b/Tanh"] r = Tanh(b)
  ["c/MatMul"] y = MatMul(r, "c.weight") }
"""
GRIDS: Mapping[str, Quantizer] = {"a/MatMul": grid(-4.0, 5.0), "b/MatMul": grid(-1.0, 1.0), "c/MatMul": grid(-0.5, 0.5)}


def decisions(**schemes: NodeScheme) -> Decisions:
    """W8A8 with a grid each, but for the nodes whose letter is given another scheme."""
    found = {}
    for name, entry in GRIDS.items():
        scheme = schemes.get(name[0], NodeScheme.W8A8)
        found[name] = Decision(name, scheme, "test", entry if scheme is NodeScheme.W8A8 else None)
    return found


def chain(model: ir.Model, x: Array, rounded: str = "") -> Array:
    """The graph in double precision, with the input of the node `rounded` on its grid."""
    values: Array = x.astype(np.float64)
    for name in GRIDS:
        if name == rounded:
            values = dequantize(quantize(values.astype(np.float32), GRIDS[name]), GRIDS[name]).astype(np.float64)
        values = values @ weight_of(model, f"{name[0]}.weight").astype(np.float64)
        values = values if name == "c/MatMul" else np.tanh(values)
    return values


def expected_noise(model: ir.Model, feeds: list[Array], name: str, guidance: float | None) -> float:
    """By the definition; a `guidance` of None compares all that the graph gives."""

    def guided(values: Array) -> Array:
        if guidance is None:
            return values
        negative, positive = np.split(values, 2)
        mixed: Array = negative + guidance * (positive - negative)
        return mixed

    ratios = []
    for x in feeds:
        clean, noisy = guided(chain(model, x)), guided(chain(model, x, name))
        ratios.append(np.sum((noisy - clean) ** 2) / np.sum(clean**2))
    return float(np.median(ratios))


@pytest.mark.parametrize(
    ("component", "guidance", "mixed"),
    [("unet", 5.0, 5.0), ("unet", 1.25, 1.25), ("unet", 1.0, None), ("unet", 0.0, None), ("vae_decoder", 5.0, None)],
)
def test_the_noise_of_each_node_is_numpys(component: str, guidance: float, mixed: float | None, tmp_path: Path) -> None:
    """As pipelines do, a denoiser is run for two predictions beyond a guidance of 1 only; a decoder never is."""
    model, feeds = small_graph(CHAIN), [activations(2, 5, 24, seed=seed) for seed in (1, 2, 3)]
    calibration = small_calibration(small_graph(CHAIN), tmp_path, [{"x": x} for x in feeds], guidance)
    told: list[tuple[int, int]] = []
    found = noise_alone(
        small_graph(CHAIN),
        decisions(),
        calibration.bundle.component(component),
        [Call(0, {"x": x}) for x in feeds],
        partial(calibration.guided, component),
        lambda _what, done, total: told.append((done, total)),
    )
    assert list(found) == list(GRIDS)
    assert told == [(0, 3), (1, 3), (2, 3)]
    for name, noise in found.items():
        assert noise == pytest.approx(expected_noise(model, feeds, name, mixed), rel=0.02), name


def test_only_integer_nodes_get_a_switch_in_the_graphs_order() -> None:
    model = small_graph(CHAIN)
    assert with_switches(model, decisions(b=NodeScheme.W8)) == ["a/MatMul", "c/MatMul"]
    assert operators(model)["Where"] == 2
    switches = model.graph.inputs[-1]
    assert (switches.name, switches.dtype) == ("switches", ir.DataType.BOOL)
    assert switches.shape is not None
    assert switches.shape.numpy() == (2,)


def test_all_switches_off_is_the_graph_itself_and_one_on_is_that_node_alone(tmp_path: Path) -> None:
    x, plain = activations(2, 5, 24), small_graph(CHAIN)
    switched = small_graph(CHAIN)
    with_switches(switched, decisions())
    save_graph(switched, tmp_path / "switched")
    clean = run(plain, tmp_path, "onnxruntime", {"x": x})
    for index, name in enumerate(("", *GRIDS)):
        switches = np.arange(1, 4) == index
        got = run(switched, tmp_path, "onnxruntime", {"x": x, "switches": switches})
        np.testing.assert_allclose(got, chain(plain, x, name), rtol=1e-4, atol=1e-4 * np.abs(clean).max())
        assert np.array_equal(got, clean) is (index == 0)
