"""What TensorRT-RTX's compiler says of the engine that it built: a line for each of its layers.

The lines appear in a verbose log when profiling is detailed. Each has the kernel's kind, the data type and shape of
every tensor that it reads and writes, and the ONNX nodes that it stands for, which is all that an audit needs:

    Name: .., LayerType: .., Inputs: [ { Name: .., Dimensions: [..], .. Datatype: .. }], Constants: [..],
    Outputs: [..], TacticName: .., StreamId: .., Metadata: [ONNX Layer: a/Conv]^_[ONNX Layer: a/Add]
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LINE = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]+), Inputs: \[(?P<inputs>.*?)\], "
    r"(?:Constants: \[(?P<constants>.*?)\], )?Outputs: \[(?P<outputs>.*?)\], TacticName: (?P<tactic>.*?), StreamId: "
    r".*?Metadata: ?(?P<metadata>.*)$"
)
_TENSOR = re.compile(r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<dims>[^\]]*)\].*?Datatype: (?P<dtype>\w+)")
_BETWEEN = "\x1f"  # the nodes in a layer's metadata
_NODE = re.compile(r"^\[ONNX Layer: (.*)\]$")
DTYPES = {
    "Float": "f32",
    "Half": "f16",
    "BFloat16": "bf16",
    "Int8": "int8",
    "FP8": "fp8",
    "Int32": "int32",
    "Int64": "int64",
    "Bool": "bool",
    "Uint8": "uint8",
    "UInt8": "uint8",
}
"""The compiler's names, and ours."""


@dataclass(frozen=True, kw_only=True)
class EngineTensor:
    """`dtype` is one of ours where we know it, else the compiler's."""

    name: str
    dims: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class EngineLayer:
    """A layer of a built engine, which is a kernel; `nodes` are the names of the ONNX nodes that it stands for."""

    name: str
    kind: str  # "correlation" is a convolution, "gemm" a product, "kgen" a generated kernel
    tactic: str
    inputs: tuple[EngineTensor, ...]
    constants: tuple[EngineTensor, ...]
    outputs: tuple[EngineTensor, ...]
    nodes: tuple[str, ...]


def is_record(line: str) -> bool:
    """Whether a log's line may be a layer's."""
    return line.startswith("Name: ")


def parse_layers(lines: Iterable[str]) -> tuple[EngineLayer, ...]:
    """The layers in a log's lines, in its order; lines of another kind are passed over."""
    found = (_LINE.match(line) for line in lines)
    return tuple(_layer(match) for match in found if match is not None)


def _layer(match: re.Match[str]) -> EngineLayer:
    return EngineLayer(
        name=match["name"],
        kind=match["kind"],
        tactic=match["tactic"],
        inputs=_tensors(match["inputs"]),
        constants=_tensors(match["constants"] or ""),
        outputs=_tensors(match["outputs"]),
        nodes=node_names(match["metadata"]),
    )


def node_names(metadata: str) -> tuple[str, ...]:
    """The ONNX nodes that a layer's metadata names, each once."""
    found = (_NODE.match(part.strip()) for part in metadata.split(_BETWEEN))
    return tuple(dict.fromkeys(match[1] for match in found if match is not None))


def _tensors(text: str) -> tuple[EngineTensor, ...]:
    return tuple(
        EngineTensor(
            name=match["name"],
            dims=tuple(int(dim) for dim in match["dims"].split(",") if dim.strip()),
            dtype=DTYPES.get(match["dtype"], match["dtype"]),
        )
        for match in _TENSOR.finditer(text)
    )
