"""The last step for targets that compute in FP16: find the fallbacks, then write FP16 into the graph's types."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from ..calibrate.data import CalibrationData
from ..calibrate.trajectories import Call
from ..decide.half_fallback import Fallback, find_fallbacks, measure_ranges
from ..passes.contract import Context, Pass, Rewritten, run_passes

_SEED = 3  # other calls than those of the statistics and of the parity check
_TEXTS = 16
_IMAGES = 8


def convert_to_half(
    model: ir.Model,
    name: str,
    data: CalibrationData,
    passes: Sequence[Pass],
    storage: Storage,
    progress: Progress = silent,
) -> tuple[Rewritten, Sequence[Fallback]]:
    """Run `passes` on the lowered graph of component `name`, whose storage becomes `storage`.

    With the graph come the fallbacks that the passes were told to leave in FP32.
    """
    missing = ONNXRUNTIME.missing()
    if missing is not None:
        raise MezzotintError(f"ranges are measured on ONNX Runtime's CPU engine, and onnxruntime {missing}")
    calls = range_calls(data, name)
    component = replace(data.bundle.component(name), storage=storage)
    ranges = measure_ranges(model, component, ONNXRUNTIME, calls, progress)
    fallbacks = find_fallbacks(model.graph, ranges)
    reasons = {fallback.key: fallback.reason for fallback in fallbacks}
    rewritten = run_passes(model, passes, Context(float32_nodes=reasons))
    if fallbacks:
        first = fallbacks[0]
        progress(f"{name}: {len(fallbacks)} nodes stay in FP32, the first is {first.node}", 1, 1)
    return rewritten, fallbacks


def range_calls(data: CalibrationData, name: str) -> Sequence[Call]:
    """Calls of any component: every step of the schedule once, or an image's latents, texts or pixels."""
    match family_of(data.bundle).role(name):
        case Role.TEXT_ENCODER:
            return data.calls(name, _TEXTS, _SEED)
        case Role.DENOISER | Role.CONTROL:
            return data.calls(name, data.settings.steps, _SEED)
        case Role.IMAGE_DECODER | Role.T2I_ADAPTER:
            return data.calls(name, _IMAGES, _SEED)
        case Role.IMAGE_ENCODER:
            return _encoder_calls(data, name)


def _encoder_calls(data: CalibrationData, name: str) -> list[Call]:
    """Images, decoded from the trajectories' final latents."""
    bundle = data.bundle
    (decoder,) = family_of(bundle).names(Role.IMAGE_DECODER)
    component, (spec,) = bundle.component(decoder), bundle.component(name).inputs
    session = Session.open(decoder, bundle.graph_path(decoder), component, ONNXRUNTIME, EngineOptions(Compute.F32))
    calls = data.calls(decoder, _IMAGES, _SEED)
    images = [session.run(call.feeds)[component.outputs[0].name] for call in calls]  # (1, 3, H, W) in [-1, 1]
    return [Call(0, {spec.name: np.clip(image, -1.0, 1.0).astype(np.float32)}) for image in images]
