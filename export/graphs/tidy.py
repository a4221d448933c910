"""Makes an exported graph readable and the same on every machine.

The exporter writes stack traces with absolute paths into every node, numbers its values, and names symbols by hash.
Here every node is named "module.path/OpType", its value after it, a weight after its parameter, and a dim after the
graph input that it comes from. Quantization rules match on these names.
"""

import ast
import re
from collections import Counter

import onnx_ir as ir

from .graph_source import GraphSource

_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_ROOT = "root"  # the attribute under which the wrappers hold the module
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"  # torch's scope for nodes outside any module
_GETITEM = re.compile(r"\.__dict__\['_modules'\]\['(\w+)'\]|\._modules\['(\w+)'\]")


def tidy(model: ir.Model, source: GraphSource) -> ir.Model:
    """Rename nodes, values, weights and dims in place, and strip everything that tells of the exporting machine."""
    paths = {node: _module_path(node) for node in model.graph}
    _rename_dims(model, source)
    _rename_weights(model, paths)
    _rename_nodes(model, paths)
    for node in model.graph:
        node.metadata_props.clear()
        node.meta.clear()
        node.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.name = source.name
    model.graph.doc_string = None
    model.doc_string = None
    return model


def _module_path(node: ir.Node) -> str:
    """Dotted path of the module that made the node, as in the checkpoint's state dict; "" for shape arithmetic."""
    scopes = node.metadata_props.get(_SCOPES_KEY)
    if not scopes:
        return ""
    names = ast.literal_eval(scopes)
    path = str(names[-2]) if len(names) > 1 else ""
    return "" if path == _NO_MODULE else _without_root(_GETITEM.sub(lambda match: f".{match[1] or match[2]}", path))


def _without_root(path: str) -> str:
    return path.removeprefix(_ROOT).removeprefix(".")


def _rename_dims(model: ir.Model, source: GraphSource) -> None:
    names: dict[str, str] = {}
    for value, spec in zip(model.graph.inputs, source.inputs, strict=True):
        for dim, wanted in zip(value.shape or (), spec.dims, strict=True):
            if isinstance(wanted, str) and isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                names[dim.value] = wanted
    symbol = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
        if value.shape is not None:
            dims = [d if isinstance(d, int) else symbol.sub(lambda m: names[m[0]], d.value or "") for d in value.shape]
            value.shape = ir.Shape([dim or None for dim in dims] if any(dims) else dims)


def _rename_weights(model: ir.Model, paths: dict[ir.Node, str]) -> None:
    """Parameters lose the wrapper's prefix; a linear weight that the exporter transposed gets its name back."""
    taken = {_without_root(name) for name in model.graph.initializers}
    for value in list(model.graph.initializers.values()):
        name = _without_root(str(value.name))
        consumer = next((use.node for use in value.uses() if use.node.op_type == "MatMul"), None)
        if "." not in name and consumer is not None and f"{paths[consumer]}.weight" not in taken:
            name = f"{paths[consumer]}.weight"
            taken.add(name)
        value.name = name


def _rename_nodes(model: ir.Model, paths: dict[ir.Node, str]) -> None:
    outputs = set(model.graph.outputs)
    counts: Counter[str] = Counter()
    for node in model.graph:
        name = f"{paths[node]}/{node.op_type}"
        counts[name] += 1
        node.name = name if counts[name] == 1 else f"{name}_{counts[name]}"
        for index, value in enumerate(node.outputs):
            if value not in outputs:
                value.name = node.name if len(node.outputs) == 1 else f"{node.name}:{index}"
