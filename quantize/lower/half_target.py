"""The last step for targets that compute in FP16: find the islands, then write FP16 into the graph's types."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError

from ..calibrate.text_calls import token_calls
from ..calibrate.trajectories import Call
from ..decide.half_islands import Island, find_islands, measure_ranges
from ..decide.integer import Calibration
from ..passes.half_arithmetic import compute_in_half

__all__ = ["range_calls", "settle_in_half"]

_SEED = 3  # other calls than those of the statistics and of the parity check
_PICTURES = 8


def settle_in_half(model: ir.Model, name: str, calibration: Calibration) -> list[Island]:
    """Retype the lowered graph of component `name`, in place; the islands that stay in FP32."""
    missing = ONNXRUNTIME.missing()
    if missing is not None:
        raise MezzotintError(f"ranges are measured on ONNX Runtime's CPU engine, and onnxruntime {missing}")
    calls = range_calls(calibration, name)
    component = calibration.bundle.component(name)
    ranges = measure_ranges(model, component, ONNXRUNTIME, calls, calibration.progress)
    islands = find_islands(model.graph, ranges)
    compute_in_half(model, {island.key for island in islands})
    if islands:
        first = islands[0]
        calibration.progress(f"{name}: {len(islands)} nodes stay in FP32, the first is {first.node}", 1, 1)
    return islands


def range_calls(calibration: Calibration, name: str) -> Sequence[Call]:
    """Calls of any component: every step of the schedule once, or a picture's latents, text or pixels."""
    if name.startswith("text_encoder"):
        return token_calls(calibration.bundle, calibration.prompts)
    if name == "vae_encoder":
        return _encoder_calls(calibration)
    count = calibration.settings.steps if name == "unet" else _PICTURES
    return calibration.calls(name, count, _SEED)


def _encoder_calls(calibration: Calibration) -> list[Call]:
    """Pictures, decoded from the trajectories' final latents."""
    bundle = calibration.bundle
    decoder = bundle.component("vae_decoder")
    session = Session.open(
        "vae_decoder", bundle.graph_path("vae_decoder"), decoder, ONNXRUNTIME, EngineOptions(Compute.F32)
    )
    calls = calibration.calls("vae_decoder", _PICTURES, _SEED)
    pictures = [session.run(call.feeds)[decoder.outputs[0].name] for call in calls]  # (1, 3, H, W) in [-1, 1]
    input_name = bundle.component("vae_encoder").inputs[0].name
    return [Call(0, {input_name: np.clip(picture, -1.0, 1.0).astype(np.float32)}) for picture in pictures]
