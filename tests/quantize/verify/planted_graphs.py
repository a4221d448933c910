"""Graphs for TensorRT's compiler: a good convolution of codes, and the same with a fault planted."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.parser import parse_model

from mezzotint.arrays import Array

SHAPES = {"x": (1, 32, 16, 16)}
NODE = "block.conv/Conv"
GOOD = """
g (float[1,32,16,16] x) => (float[1,32,16,16] y)
<int8[32,32,3,3] codes, float[32] scales, int8[32] zeros, float scale, int8 zero, float[32,32,3,3] weight,
 uint8 middle, int8 three, float16[32,32,3,3] half>
{ ["q"] q = QuantizeLinear(x, scale, zero)
  ["dq"] dq = DequantizeLinear(q, scale, zero)
  ["wdq"] wdq = DequantizeLinear<axis=0>(codes, scales, zeros)
  ["block.conv/Conv"] y = Conv<pads=[1,1,1,1]>(dq, wdq) }
"""
ATTENTION = """
g (float[2,64,64] x) => (float[2,64,64] y)
<float[64,64] weight>
{ ["q"] q = MatMul(x, weight)
  ["k"] k = Transpose<perm=[0,2,1]>(q)
  ["scores"] s = MatMul(q, k)
  ["shares"] p = Softmax<axis=-1>(s)
  ["mixed"] y = MatMul(p, q) }
"""
OPERATOR = """
g (float16[2,2,64,8] q, float16[2,2,64,8] k, float16[2,2,64,8] v) => (float16[2,2,64,8] y)
{ ["attention"] y = Attention(q, k, v) }
"""
"""Attention as one node, whose heads are 8 wide."""


def save_planted(path: Path, *changes: tuple[str, str], text: str = GOOD) -> Path:
    """The graph of `text`, with parts of it replaced, in a file at `path`."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    model = parse_model('<ir_version: 10, opset_import: ["": 23]>' + text)
    used = {name for node in model.graph.node for name in node.input}
    arrays = {value.name: _constant(value) for value in model.graph.value_info if value.name in used}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    del model.graph.value_info[:]
    onnx.save(model, path)
    return path


def _constant(value: onnx.ValueInfoProto) -> Array:
    stated = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in stated.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(stated.elem_type)
    fixed = {"zero": 0, "zeros": 0, "middle": 128, "three": 3, "scale": 0.05, "scales": 0.01}
    if value.name in fixed:
        return np.full(shape, fixed[value.name], dtype)
    random = np.random.default_rng(0)
    if dtype == np.int8:
        return random.integers(-127, 128, shape).astype(dtype)
    return random.normal(0.0, 0.1, shape).astype(dtype)
