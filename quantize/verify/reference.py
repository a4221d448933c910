"""What the FP32 graph says of a call, kept: the next target, and each step of a search, asks the same."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.families.residuals import answer_of
from mezzotint.progress import Progress, silent
from mezzotint.runtime import Bundle

from ..calibrate.array_cache import cached_arrays, content_key
from ..calibrate.trajectories import Call
from ..graphs.graph_file import load_graph, temporary_graph
from ..passes.contract import run_passes
from ..passes.ort_floats import ORT_FLOATS


def reference_outputs(
    bundle: Bundle, name: str, calls: Sequence[Call], engine: Engine, progress: Progress = silent
) -> list[Array]:
    """The component's answer to each call (see `answer_of`), in FP32 on `engine`; each call is cached by its inputs."""
    component = bundle.component(name)
    output = component.outputs[0].name
    graph = [entry.sha256 for entry in component.files]
    with ExitStack() as files:

        @cache
        def session() -> Session:
            path = files.enter_context(temporary_graph(_suited(bundle.graph_path(name), engine)))
            return Session.open(name, path, component, engine, EngineOptions(Compute.F32, frugal=True))

        def make(call: Call) -> dict[str, Array]:
            return {output: answer_of(component, session().run(call.feeds))}

        outputs = []
        for index, call in enumerate(calls):
            progress(f"running {name} in FP32", index, len(calls))
            key = content_key({"graph": graph, "engine": engine.name, "feeds": _sha256(call)})
            outputs.append(cached_arrays("reference", key, partial(make, call))[output])
        session.cache_clear()
    return outputs


def _suited(path: Path, engine: Engine) -> ir.Model:
    """As exported, attention takes ONNX Runtime a score matrix of (B, heads, S, S): gigabytes for SD 1.5."""
    model = load_graph(path)
    return run_passes(model, ORT_FLOATS).model if engine is ONNXRUNTIME else model


def _sha256(call: Call) -> str:
    digest = hashlib.sha256()
    for name in sorted(call.feeds):
        array = np.ascontiguousarray(call.feeds[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
