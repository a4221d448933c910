"""What a GPU's compiler makes of a checkpoint's shape, without calibration: ranges are made up, and nothing else is.

Kernels are chosen by operators, types and shapes, not by values, so that this tells whether a structure is accepted and
how much of it is in 8 bits before anybody spends hours on calibrating it. The graphs are of no other use.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from mezzotint.affine import UINT8, range_to_quantizer
from mezzotint.bundle.bundle import GRAPH_FILE, Bundle
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.precision import EIGHT_BITS, NodeScheme, Storage
from mezzotint.engines.heap import give_back_memory
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress, silent

from ..graphs.graph_file import load_graph, save_graph
from ..graphs.weighted import weighted_nodes
from ..lower.target import find_target
from ..passes.contract import run_passes
from ..rules.lineup import rules_of
from ..rules.rule import decide
from .audit_tensorrt import CompiledAudit, audited_for, check_kernels, compile_component
from .image_shapes import image_shapes

_RANGE = range_to_quantizer(np.asarray(-4.0), np.asarray(4.0), UINT8)


def compile_shape(
    bundle: Bundle,
    component: str,
    storage: Storage,
    capabilities: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[CompiledAudit, ...]:
    """Lower a component of an FP32 bundle to `storage` for TensorRT and compile it for one image.

    For every one of `capabilities`, or for those that an audit asks about. Raises CheckFailed naming the node where the
    compiler refuses the graph, MezzotintError where it is not installed or a GPU has no such arithmetic, and for a
    bundle that is quantized already.
    """
    check_kernels(capabilities or audited_for(storage), storage)
    if bundle.component(component).storage is not Storage.FLOAT32:
        stored = bundle.component(component).storage
        raise MezzotintError(what=f"{component} of {bundle.path}", got=str(stored), expected=str(Storage.FLOAT32))
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        promised = _lower(bundle, component, storage, Path(folder))
        give_back_memory()
        found = []
        for capability in capabilities or audited_for(storage):
            progress(f"compiling {component} in {storage} for {capability}", 0, 1)
            called = "FP8" if storage is Storage.FP8 else "INT8"
            shapes = image_shapes(bundle, component)
            path = Path(folder) / GRAPH_FILE
            found.append(compile_component(path, component, shapes, promised, capability, called=called))
            give_back_memory()
    return tuple(found)


def _lower(bundle: Bundle, component: str, storage: Storage, folder: Path) -> list[str]:
    """Write the graph; the nodes that are in 8 bits in it."""
    target, model = find_target("tensorrt"), load_graph(bundle.graph_path(component))
    decisions: Decisions = {}
    if storage in EIGHT_BITS:
        decisions = _decide(bundle, component, model)
        decisions = (target.fit_float8 if storage is Storage.FP8 else target.fit)(model.graph, decisions)
        model = target.lower(model, decisions).model
    else:
        model = target.lower_floats(model).model
    model = run_passes(model, target.halves).model
    target.check(model)
    save_graph(model, folder)
    return [name for name, one in decisions.items() if one.scheme is NodeScheme.W8A8]


def _decide(bundle: Bundle, component: str, model: ir.Model) -> Decisions:
    names = [item.name for item in weighted_nodes(model.graph)]
    decided = decide(names, rules_of(bundle, component, names))
    return {
        name: replace(one, activation=_RANGE) if one.scheme is NodeScheme.W8A8 else one for name, one in decided.items()
    }
