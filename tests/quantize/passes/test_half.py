"""FP16 storage: half the bytes, the same interface, and no weight that turns to infinity."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.quantize.passes.half import STORE_HALF, HalfReason
from tests.quantize.small_graphs import CONV, LINEAR, activations, run, small_graph, weight_of

BACKENDS = ("openvino", "onnxruntime")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("text", "shape"), [(CONV, (1, 8, 6, 6)), (LINEAR, (2, 5, 24))])
def test_the_graph_computes_with_the_rounded_weights(
    text: str, shape: tuple[int, ...], backend: str, tmp_path: Path
) -> None:
    pytest.importorskip(backend)
    rounded, x = small_graph(text), activations(*shape)
    for value in rounded.graph.initializers.values():
        assert value.const_value is not None
        halved = value.const_value.numpy().astype(np.float16).astype(np.float32)
        value.const_value = ir.tensor(halved, name=value.name)
    expected = run(rounded, tmp_path, backend, {"x": x})
    stored = small_graph(text)
    assert STORE_HALF(stored).declined == ()
    got = run(stored, tmp_path, backend, {"x": x})
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_weights_take_two_bytes_and_the_interface_stays_in_floats() -> None:
    model = small_graph(CONV)
    STORE_HALF(model)
    weights = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    assert {tensor.dtype for tensor in weights} == {ir.DataType.FLOAT16}
    assert sum(tensor.nbytes for tensor in weights) == 2 * (16 * 8 * 3 * 3 + 16)
    assert [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)] == [ir.DataType.FLOAT] * 2


def test_a_weight_that_overflows_stays_as_it_is_and_is_named(tmp_path: Path) -> None:
    weight = weight_of(small_graph(LINEAR), "block.fc.weight").copy()
    weight[3, 5] = 1e5
    model = small_graph(LINEAR, block__fc__weight=weight)
    declined = STORE_HALF(model).declined
    assert [(one.node, one.reason) for one in declined] == [("block.fc.weight", HalfReason.OVERFLOW)]
    assert float(declined[0].got) == 1e5
    np.testing.assert_array_equal(weight_of(model, "block.fc.weight"), weight)
    assert np.isfinite(run(model, tmp_path, "onnxruntime", {"x": activations(1, 2, 24)})).all()


def test_folded_constants_stay_exact() -> None:
    """Names without a module path are constants that the exporter folded, such as the frequencies of the timestep."""
    text = """
    small (float[n,24] x) => (float[n,24] y)
    { y = Mul(x, frequencies) }
    """
    model = small_graph(
        text.replace("float[n,24] x", 'float[n,24] x, float[24] "made.up"').replace("frequencies", '"made.up"')
    )
    value = model.graph.initializers["made.up"]
    value.name = "frequencies"
    STORE_HALF(model)
    assert model.graph.initializers["frequencies"].dtype == ir.DataType.FLOAT
