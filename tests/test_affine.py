"""Quantization against ONNX Runtime's QuantizeLinear and DequantizeLinear, and against torch."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from mezzotint.affine import INT8_SYMMETRIC, UINT8, IntegerType, Quantizer, dequantize, quantize, range_to_quantizer
from mezzotint.arrays import Array

GRIDS = (UINT8, INT8_SYMMETRIC)
RANGES = {
    "around zero": (-1.7, 2.3),
    "all positive": (3.0, 9.0),
    "all negative": (-9.0, -0.5),
    "up to zero": (-4.0, 0.0),
    "tiny": (-1e-30, 3e-30),
    "huge": (-3e38, 1e38),
}
each_grid = pytest.mark.parametrize("integer", GRIDS, ids=lambda grid: grid.dtype)


@cache
def onnx_session(operator: str, dtype: str, axis: int | None) -> Any:
    """QuantizeLinear or DequantizeLinear as a model of its own, on ONNX Runtime."""
    code = TensorProto.UINT8 if dtype == "uint8" else TensorProto.INT8
    source, target = (TensorProto.FLOAT, code) if operator == "QuantizeLinear" else (code, TensorProto.FLOAT)
    node = helper.make_node(operator, ["x", "scale", "zero"], ["y"])
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    inputs = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in (("x", source), ("scale", TensorProto.FLOAT), ("zero", code))
    ]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", target, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run_onnx(operator: str, values: Array, quantizer: Quantizer) -> Array:
    session = onnx_session(operator, quantizer.integer.dtype, quantizer.axis)
    feeds = {"x": values, "scale": quantizer.scale, "zero": quantizer.zero_point}
    result: Array = session.run(None, feeds)[0]
    return result


def values_within(low: float, high: float, seed: int = 0) -> Array:
    """Values over [min(low, 0), max(high, 0)], ends included."""
    low, high = min(low, 0.0), max(high, 0.0)
    random = np.random.default_rng(seed).random(5000) * (high - low) + low
    return np.concatenate([random, [low, high]]).astype(np.float32)


@each_grid
@pytest.mark.parametrize("name", RANGES)
def test_codes_and_values_equal_onnx_runtime(name: str, integer: IntegerType) -> None:
    low, high = RANGES[name]
    quantizer = range_to_quantizer(np.array(low), np.array(high), integer)
    values = values_within(low, high)
    codes = quantize(values, quantizer)
    assert codes.dtype == integer.dtype
    np.testing.assert_array_equal(codes, run_onnx("QuantizeLinear", values, quantizer))
    np.testing.assert_array_equal(dequantize(codes, quantizer), run_onnx("DequantizeLinear", codes, quantizer))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@each_grid
def test_per_channel_equals_onnx_runtime(integer: IntegerType, axis: int) -> None:
    rng = np.random.default_rng(3)
    values = (rng.normal(0, 1, (3, 4, 5)) * rng.random((3, 4, 5)) * 10).astype(np.float32)
    others = tuple(other for other in range(3) if other != axis % 3)
    quantizer = range_to_quantizer(values.min(others), values.max(others), integer, axis)
    codes = quantize(values, quantizer)
    np.testing.assert_array_equal(codes, run_onnx("QuantizeLinear", values, quantizer))
    np.testing.assert_array_equal(dequantize(codes, quantizer), run_onnx("DequantizeLinear", codes, quantizer))


@each_grid
def test_ties_and_overflows_go_where_onnx_sends_them(integer: IntegerType) -> None:
    quantizer = Quantizer(np.array(0.5, np.float32), np.array(3 * (integer is UINT8), integer.dtype), integer)
    ties = np.arange(-20, 20, dtype=np.float32) * 0.25
    np.testing.assert_array_equal(quantize(ties, quantizer), run_onnx("QuantizeLinear", ties, quantizer))
    far = np.array([1e6, -1e6, np.inf, -np.inf], dtype=np.float32)
    ends = [integer.q_max, integer.q_min] * 2
    assert quantize(far, quantizer).tolist() == ends


@pytest.mark.parametrize("name", ["around zero", "all positive", "all negative", "up to zero"])
@each_grid
def test_per_tensor_equals_torch(name: str, integer: IntegerType) -> None:
    """To one step: torch multiplies with the reciprocal of the scale, which at times moves a value to the next code."""
    low, high = RANGES[name]
    quantizer = range_to_quantizer(np.array(low), np.array(high), integer)
    values = values_within(low, high, seed=5)
    oracle = torch.fake_quantize_per_tensor_affine(
        torch.from_numpy(values), float(quantizer.scale), int(quantizer.zero_point), integer.q_min, integer.q_max
    )
    assert_nearly_same(dequantize(quantize(values, quantizer), quantizer), oracle.numpy(), quantizer.scale)


def test_per_channel_equals_torch() -> None:
    weight = np.random.default_rng(6).normal(0, 1, (8, 3, 3, 3)).astype(np.float32)
    bound = np.abs(weight).max((1, 2, 3))
    quantizer = range_to_quantizer(-bound, bound, INT8_SYMMETRIC, axis=0)
    scales, zeros = torch.from_numpy(quantizer.scale), torch.zeros(8, dtype=torch.int32)
    oracle = torch.fake_quantize_per_channel_affine(torch.from_numpy(weight), scales, zeros, 0, -127, 127)
    found = dequantize(quantize(weight, quantizer), quantizer)
    assert_nearly_same(found, oracle.numpy(), quantizer.scale.reshape(-1, 1, 1, 1))


def assert_nearly_same(found: Array, expected: Array, scale: Array) -> None:
    steps = np.abs(found - expected) / scale
    assert steps.max() < 1.001
    assert np.mean(steps > 1e-3) < 0.01


@each_grid
@pytest.mark.parametrize("name", RANGES)
def test_zero_is_exact_and_the_range_is_covered_to_half_a_step(name: str, integer: IntegerType) -> None:
    low, high = RANGES[name]
    quantizer = range_to_quantizer(np.array(low), np.array(high), integer)
    ends = np.array([0.0, low, high], dtype=np.float32)
    found = dequantize(quantize(ends, quantizer), quantizer)
    assert found[0] == 0.0
    # the zero point is rounded, and that moves both ends by up to another half step
    np.testing.assert_allclose(found, ends, atol=float(quantizer.scale) * 1.001, rtol=0)
    steps = (max(high, 0.0) - min(low, 0.0)) / float(quantizer.scale)
    assert steps == pytest.approx(255, rel=1e-5) if integer is UINT8 else steps <= 254.01


def test_a_symmetric_grid_has_zero_point_0_and_no_code_of_minus_128() -> None:
    quantizer = range_to_quantizer(np.array([-5.0, -1.0]), np.array([1.0, 2.0]), INT8_SYMMETRIC, axis=0)
    assert quantizer.zero_point.tolist() == [0, 0]
    np.testing.assert_allclose(quantizer.scale, [5 / 127, 2 / 127], rtol=1e-6)
    values = np.array([[-5.0, -500.0], [-2.0, 2.0]], dtype=np.float32)
    assert quantize(values, quantizer).tolist() == [[-127, -127], [-127, 127]]


@each_grid
def test_a_range_of_no_width_is_exact(integer: IntegerType) -> None:
    quantizer = range_to_quantizer(np.zeros(3), np.zeros(3), integer, axis=0)
    assert quantizer.scale.tolist() == [1.0, 1.0, 1.0]
    values = np.zeros((3, 2), dtype=np.float32)
    np.testing.assert_array_equal(dequantize(quantize(values, quantizer), quantizer), values)


@each_grid
def test_scales_and_zero_points_have_the_types_of_onnx(integer: IntegerType) -> None:
    quantizer = range_to_quantizer(np.array(-1.0), np.array(1.0), integer)
    assert quantizer.scale.dtype == np.float32
    assert quantizer.scale.shape == quantizer.zero_point.shape == ()
    assert quantizer.zero_point.dtype == integer.dtype
    assert onnx.numpy_helper.from_array(quantizer.zero_point).dims == []
