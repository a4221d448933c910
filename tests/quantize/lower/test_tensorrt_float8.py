"""FP8 for TensorRT: E4M3 codes by the format's definition, and a graph that computes what they say on a CPU engine."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from mezzotint.affine import FLOAT8, Quantizer, range_to_quantizer
from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import read_decisions, write_decisions
from mezzotint.bundle.precision import Storage
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.errors import MezzotintError
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.quantize.decide.recipe import component_storages, find_recipe
from mezzotint.quantize.graphs.codes import codes_of
from mezzotint.quantize.lower.check_tensorrt import check_tensorrt
from mezzotint.quantize.lower.target import find_target, fit_storages
from mezzotint.quantize.lower.tensorrt import LOWER_TENSORRT, fit_tensorrt_float8
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.passes.half_arithmetic import COMPUTE_IN_HALF
from tests.quantize.lower.float8_oracle import LARGEST, to_float8
from tests.quantize.lower.test_tensorrt import CONV
from tests.quantize.small_graphs import LINEAR, activations, decided, grid, operators, run, small_graph, weight_of

SPREAD = np.array([0.0, 1.0, 1.0625, 1.1875, -3.3, 447.0, 449.0, -1e9, 2.0**-9, 2.0**-10, 2.9e-3, 17.0, 19.0, -0.7])


def test_codes_are_those_of_the_format() -> None:
    values = np.concatenate([SPREAD, np.random.default_rng(0).normal(0.0, 50.0, 4000)]).astype(np.float32)
    codes = codes_of(values, Quantizer(np.array(1.0, np.float32), np.array(0, np.int8), FLOAT8))
    np.testing.assert_array_equal(codes.astype(np.float64), to_float8(values))
    assert np.isfinite(codes.astype(np.float32)).all()


def test_a_scale_a_channel_lies_along_its_axis() -> None:
    values = np.outer([1.0, 100.0, 0.01], [1.0, -0.5, 0.3]).astype(np.float32)
    quantizer = range_to_quantizer(-values.max(axis=1), values.max(axis=1), FLOAT8, axis=0)
    codes = codes_of(values, quantizer)
    np.testing.assert_allclose(codes.astype(np.float64), to_float8(np.outer([LARGEST] * 3, [1.0, -0.5, 0.3])))
    assert codes.dtype == ir.DataType.FLOAT8E4M3FN.numpy()


def test_the_decisions_file_holds_the_grid(tmp_path: Path) -> None:
    model = small_graph(LINEAR)
    fitted = fit_tensorrt_float8(model.graph, decided("block.fc/MatMul", entry=grid(-3.0, 4.0)))
    write_decisions(fitted, tmp_path / "quantization.json")
    (known,) = read_decisions(tmp_path / "quantization.json").values()
    assert known.activation is not None
    assert known.activation.integer is FLOAT8
    assert float(known.activation.scale) == pytest.approx(4.0 / LARGEST, rel=5e-3)
    assert int(known.activation.zero_point) == 0
    assert known.activation.zero_point.dtype == np.dtype(np.int8)


def lowered(text: str, node: str) -> tuple[ir.Model, float]:
    """The graph in FP8, and the scale of the node's input."""
    model = small_graph(text)
    decisions = fit_tensorrt_float8(model.graph, decided(node, entry=grid(-3.0, 4.0)))
    after = LOWER_TENSORRT(model, Context(decisions=decisions)).model
    check_tensorrt(after)
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    activation = decisions[node].activation
    assert activation is not None
    return after, float(activation.scale)


def through(values: Array, scale: Array) -> FloatArray:
    """What is left of values that were rounded to E4M3."""
    rounded: FloatArray = to_float8(values / scale) * scale
    return rounded


def assert_close(got: Array, expected: Array) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))


def in_half(scale: Array) -> FloatArray:
    """The least FP16 numbers that are no smaller."""
    half = scale.astype(np.float16)
    above: FloatArray = np.where(half < scale, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)
    return above


def test_a_linear_computes_what_the_codes_say(tmp_path: Path) -> None:
    plain, x = small_graph(LINEAR), activations(2, 5, 24)
    weight = weight_of(plain, "block.fc.weight")
    scales = in_half((np.abs(weight).max(axis=0) / LARGEST).astype(np.float32))
    after, scale = lowered(LINEAR, "block.fc/MatMul")
    expected = through(x, np.asarray(scale)) @ through(weight, scales) + weight_of(plain, "block.fc.bias")
    assert_close(run(after, tmp_path, "onnxruntime", {"x": x}, Storage.FP8), expected)


def test_a_convolution_computes_what_the_codes_say(tmp_path: Path) -> None:
    plain, x = small_graph(CONV), activations(2, 16, 9, 7)
    weight = weight_of(plain, "block.conv.weight")
    scales = in_half((np.abs(weight).max(axis=(1, 2, 3)) / LARGEST).astype(np.float32)).reshape(-1, 1, 1, 1)
    after, scale = lowered(CONV, "block.conv/Conv")
    padded = np.pad(through(x, np.asarray(scale)), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, through(weight, scales))
    expected = sums + weight_of(plain, "block.conv.bias").reshape(-1, 1, 1)
    assert_close(run(after, tmp_path, "onnxruntime", {"x": x}, Storage.FP8), expected)


@pytest.mark.parametrize("fit", ["int8", "fp8"])
def test_a_convolution_of_codes_keeps_its_scales_in_fp32(fit: str) -> None:
    """TensorRT would convert those of FP16; a linear takes them as they are."""
    for text, node, dtype in ((CONV, "block.conv/Conv", "FLOAT"), (LINEAR, "block.fc/MatMul", "FLOAT16")):
        text = text.replace("y = ", "z = ").replace(") }", ")\n y = Tanh(z) }")
        model, target = small_graph(text), find_target("tensorrt")
        decisions = (target.fit_float8 if fit == "fp8" else target.fit)(model.graph, decided(node, entry=grid(-3, 4)))
        model = LOWER_TENSORRT(model, Context(decisions=decisions)).model
        COMPUTE_IN_HALF(model)
        scales = [one.inputs[1].dtype for one in model.graph if one.op_type.endswith("eLinear") and one.inputs[1]]
        assert scales == [ir.DataType[dtype]] * 3
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        assert operators(model)["Cast"] == 2


@pytest.mark.parametrize("target", ["openvino", "onnxruntime", "cuda"])
def test_only_tensorrt_takes_it(target: str) -> None:
    recipe = find_recipe("fp8")
    storages = component_storages(recipe, STABLE_DIFFUSION.components, {})
    assert storages["unet"] is Storage.FP8
    assert fit_storages(find_target("tensorrt"), recipe, storages, {}) == storages
    with pytest.raises(MezzotintError, match=rf"{target} cannot take unet in fp8: .*--target tensorrt"):
        fit_storages(find_target(target), recipe, storages, {})


def test_integer_fusions_are_off_for_it_alone(tmp_path: Path) -> None:
    """ONNX Runtime takes any Q/DQ around a product for integers: the graph would not load."""
    assert ONNXRUNTIME.missing() is None
    after, _ = lowered(LINEAR, "block.fc/MatMul")
    with pytest.raises(MezzotintError, match="float8e4m3fn"):
        run(after, tmp_path, "onnxruntime", {"x": activations(2, 5, 24)}, Storage.INT8)
