"""The compiler's record is read as it is written: kinds, types, shapes, and the ONNX nodes of each layer."""

import pytest

from mezzotint.engines.rtx.record import EngineTensor, node_names, parse_layers

# As TensorRT-RTX 1.7.1 writes them, of graphs made for this test.
CONVOLUTION = (
    "Name: block.conv/Conv_myl0_1, LayerType: correlation, Inputs: [ { Name: x_1_myl0, Dimensions: [1,32,16,16], "
    "Strides: [8192,1,512,32], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], "
    "Constants: [ { Name: w_myl0, Dimensions: [32,32,3,3], Strides: [288,1,96,32], StrideOrder: [3,0,2,1], Datatype: "
    "Int8, Format: (NHWC) Channel major format }, { Name: s_myl0, Dimensions: [1], Strides: [1], StrideOrder: [0], "
    "Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: y, Dimensions: [1,32,16,16], "
    "Strides: [8192,256,16,1], StrideOrder: [3,2,1,0], Datatype: Half, Format: (Linear) Row major linear format }], "
    "TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: block.conv/Conv]\x1f[ONNX Layer: a:b [0]/Add]"
)
SIGNAL = (
    "Name: entry^bb^signal^1_myl0_0, LayerType: signal, Inputs: [], Constants: [], Outputs: [], TacticName: , "
    "StreamId: 0, EventId: 10, Metadata: "
)
SCALAR = (
    "Name: k, LayerType: kgen, Inputs: [ { Name: timestep, Dimensions: [], Strides: [], StrideOrder: [], Datatype: "
    "FP8, Format: (Linear) Row major linear format }], Outputs: [], TacticName: t, StreamId: 0, Metadata: "
    "[ONNX Layer: one]"
)


def test_a_layer_is_read_whole() -> None:
    (layer,) = parse_layers([CONVOLUTION])
    assert (layer.name, layer.kind, layer.tactic) == ("block.conv/Conv_myl0_1", "correlation", "__myelin_CASK_STUB")
    assert layer.inputs == (EngineTensor(name="x_1_myl0", dims=(1, 32, 16, 16), dtype="int8"),)
    assert [tensor.dtype for tensor in layer.constants] == ["int8", "f32"]
    assert layer.outputs == (EngineTensor(name="y", dims=(1, 32, 16, 16), dtype="f16"),)
    assert layer.nodes == ("block.conv/Conv", "a:b [0]/Add")


def test_layers_without_tensors_constants_or_dims_are_read_too() -> None:
    signal, scalar = parse_layers(["Engine Metadata:", SIGNAL, "", SCALAR])
    assert (signal.kind, signal.inputs, signal.outputs, signal.nodes) == ("signal", (), (), ())
    assert scalar.inputs == (EngineTensor(name="timestep", dims=(), dtype="fp8"),)
    assert (scalar.constants, scalar.nodes) == ((), ("one",))


def test_a_type_that_we_do_not_know_keeps_its_name() -> None:
    (layer,) = parse_layers([SCALAR.replace("FP8", "FP4")])
    assert layer.inputs[0].dtype == "FP4"


@pytest.mark.parametrize(
    ("metadata", "names"),
    [("", ()), ("[ONNX Layer: a]\x1f[ONNX Layer: a]", ("a",)), ("something else", ()), (" [ONNX Layer: a]", ("a",))],
)
def test_nodes_are_named_once(metadata: str, names: tuple[str, ...]) -> None:
    assert node_names(metadata) == names
