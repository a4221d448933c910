"""The compiler's record as kernels: one for each ONNX node that multiplies, with the types that it will multiply in."""

from collections.abc import Mapping, Sequence

from mezzotint.engines.rtx.record import EngineLayer

from .kernel import Kernel

_MULTIPLYING = ("correlation", "gemm", "runtime_fusion")  # before generated kernels, which may only reorder for them
_FLOATS = ("f16", "bf16", "f32")
_EIGHT_BITS = ("int8", "fp8")
UNKNOWN = "unknown"


def compiled_kernels(layers: Sequence[EngineLayer], macs: Mapping[str, int]) -> tuple[Kernel, ...]:
    """A kernel for every node in `macs`, and one without multiplications for every other layer.

    A node that no layer names has the precision "unknown": the compiler rewrote it and does not say into what.
    """
    by_node: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for node in layer.nodes:
            by_node.setdefault(node, []).append(layer)
    found, used = [], set[str]()
    for node, count in macs.items():
        candidates = by_node.get(node, [])
        if not candidates:
            found.append(Kernel(node, UNKNOWN, UNKNOWN, None, count))
            continue
        layer = min(candidates, key=_rank)
        used.add(layer.name)
        found.append(Kernel(node, layer.kind, layer_precision(layer), None, count))
    rest = (layer for layer in layers if layer.name not in used)
    return (*found, *(Kernel(layer.name, layer.kind, layer_precision(layer), None, 0) for layer in rest))


def layer_precision(layer: EngineLayer) -> str:
    """What a layer multiplies in: 8 bits only where the activations and the weight are, and else floats."""
    inputs = [tensor.dtype for tensor in layer.inputs]
    weights = [tensor.dtype for tensor in layer.constants if len(tensor.dims) > 1]
    for dtype in _EIGHT_BITS:
        if dtype in inputs and (dtype in weights or (not weights and set(inputs) == {dtype})):
            return dtype
    return next((dtype for dtype in (*inputs, *weights) if dtype in _FLOATS), UNKNOWN)


def is_fused_attention(layer: EngineLayer) -> bool:
    """Whether a layer is one kernel for both products and the Softmax: "mha" in the compiler's names."""
    return "mha" in layer.tactic or "mha" in layer.name


def _rank(layer: EngineLayer) -> tuple[int, int]:
    """The one that multiplies first: of several that name a node, others prepare its weights or add to its result."""
    kind = _MULTIPLYING.index(layer.kind) if layer.kind in _MULTIPLYING else len(_MULTIPLYING)
    return (0 if is_fused_attention(layer) else 1, kind)
