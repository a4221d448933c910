"""What a quantization would do, and about how long and how much memory it would take: two short runs, and counting.

The seconds of one denoiser step and of one decoding are measured on this machine; how many of them each part of the
work stands for was measured once, on SD 1.5's shape (docs/quantization.md, "Time and memory"). It is an estimate: what
earlier runs left in the cache is not subtracted, and other work on the machine is not foreseen.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.precision import BY_NODE, Compute, Storage
from mezzotint.engines.lineup import fastest_engine
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent
from mezzotint.runtime import TextToImage
from mezzotint.runtime.samplers.sampler import Noise
from mezzotint.runtime.samplers.schedule import Schedule
from mezzotint.runtime.start import Start, begin_from_noise

from .calibrate.second_moments import MOMENT_CALLS
from .calibrate.trajectories import CalibrationSettings
from .request import Settled

_PROMPT = "a bowl of fruit on a table"
_OBSERVED = 1.2  # an instrumented FP32 call, in plain ones
_MULTIPLIED = 1.5  # one that products of its tensors are taken in
_COMPARED = 1.2 + 0.5  # a call in FP32 on the reference engine, and one of the quantized graph
_DENOISER_PARITY_CALLS = 25
_DECODER_PARITY_CALLS = 8
_DECODER_RANGE_CALLS = 8
_SEARCH_CALLS = 10 * 120  # ten of each node alone, of about so many
_FIXED_SECONDS = 4.0  # a component: reading it, opening engines, hashing
_SECONDS_A_GIGABYTE = 9.0  # of FP32 weights: smoothing, ranges, lowering, writing
_PROCESS_BYTES = 500_000_000
_PEAK = 1.85  # of the largest component's FP32 weights
_BITS = {
    Storage.FLOAT32: 32,
    Storage.FLOAT16: 16,
    Storage.INT8_WEIGHTS: 8,
    Storage.INT8: 8,
    Storage.FP8: 8,
    Storage.INT4_WEIGHTS: 6,  # linears 4.5, all else 8
}


@dataclass(frozen=True, kw_only=True)
class ComponentPlan:
    """What would become of one component: its storage, its size on disk, and the work in words and seconds."""

    name: str
    storage: Storage
    bytes_before: int
    bytes_after: int
    work: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A dry run: estimates, never measurements. `calibration_seconds` are the trajectories that components share."""

    recipe: str
    target: str
    step_seconds: float  # a denoiser step in FP32, as it will be asked for, measured
    calibration: str
    calibration_seconds: float
    components: tuple[ComponentPlan, ...]
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.calibration_seconds + sum(component.seconds for component in self.components)


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Seconds, measured here: a denoiser step in the fastest arithmetic and in FP32, and a decoding in FP32."""

    fast: float
    float32: float
    decoder: float


def plan_quantization(
    bundle: Bundle,
    settled: Settled,
    settings: CalibrationSettings,
    *,
    is_searched: bool = False,
    progress: Progress = silent,
) -> Plan:
    """The plan for an FP32 bundle, of which that is asked. Raises MezzotintError as loading it does."""
    family = family_of(bundle)
    count = min(len(settled.prompts), settings.trajectories) if family.texts else settings.trajectories
    times = measure_steps(bundle, settings, progress)
    calls = _trajectory_calls(settings, count, family.begins_at(bundle.config))
    weights = {name: sum(entry.bytes for entry in one.files) for name, one in bundle.manifest.components.items()}
    return Plan(
        recipe=settled.recipe.name,
        target=settled.target.name,
        step_seconds=times.float32,
        calibration=f"{calls} denoiser steps of {count} {'prompts' if family.texts else 'runs'}" if calls else "none",
        calibration_seconds=calls * times.fast,
        components=tuple(
            _component_plan(
                name,
                family.role(name),
                settled.storages[name],
                size,
                settings,
                times,
                is_in_half=settled.target.is_in_half,
                is_calibrated=calls > 0,
                is_searched=is_searched,
            )
            for name, size in weights.items()
        ),
        peak_bytes=_PROCESS_BYTES + int(_PEAK * max(weights.values())),
    )


def measure_steps(bundle: Bundle, settings: CalibrationSettings, progress: Progress = silent) -> StepTimes:
    """Generate an image of two steps in each arithmetic; the second step counts, for the first one compiles."""
    engine, fastest = fastest_engine(bundle.component(family_of(bundle).denoiser))
    found: dict[str, tuple[float, float]] = {}
    for index, precision in enumerate(dict.fromkeys((fastest, Compute.F32))):
        progress(f"timing two steps in {precision}", index, 2)
        pipe = TextToImage.load(bundle.path, backend=engine.name, precision=precision)
        asked = settings.of_run(_PROMPT if pipe.family.texts else "", settings.seed)
        done = pipe.denoise([replace(asked, steps=2)], begin=partial(_begin, pipe.geometry))
        pipe.decode(done.latents)
        started = time.perf_counter()
        pipe.decode(done.latents)  # once more: the first one compiled
        found[precision] = done.calls_ms[-1] / 1e3, time.perf_counter() - started
        del pipe
    return StepTimes(fast=found[fastest][0], float32=found[Compute.F32][0], decoder=found[Compute.F32][1])


def _begin(geometry: Geometry, schedule: Schedule, noise: Noise) -> Start:
    """From noise; a denoiser that was made to inpaint sees zeros beside it, which take as long as an image."""
    start = begin_from_noise(schedule, noise)
    more = geometry.unet_channels - geometry.latent_channels
    if not more:
        return start
    rows, _, height, width = start.x.shape
    return replace(start, extra_channels=np.zeros((rows, more, height, width), dtype=np.float32))


def _trajectory_calls(settings: CalibrationSettings, count: int, begins_at: float) -> int:
    """Denoiser steps of so many trajectories: every n-th of the schedule from there on, and the first."""
    stride, steps = settings.stride(count, begins_at), settings.steps_from(begins_at)
    made = [len({0, *range(index % stride, steps, stride)}) for index in range(count)]
    return sum(made)


def _component_plan(
    name: str,
    role: Role,
    storage: Storage,
    size: int,
    settings: CalibrationSettings,
    times: StepTimes,
    *,
    is_in_half: bool,
    is_calibrated: bool,
    is_searched: bool,
) -> ComponentPlan:
    parts: dict[str, float] = {}
    call, parity_calls = _CALLS.get(role, ("", 0))
    range_calls = settings.steps if role in (Role.DENOISER, Role.CONTROL) else _DECODER_RANGE_CALLS
    calls = min(settings.calls, MOMENT_CALLS)
    seconds = {"step": times.float32, "decoding": times.decoder}.get(call, 0.0)
    if storage in BY_NODE:
        parts[f"statistics of {settings.calls} calls"] = settings.calls * _OBSERVED * seconds
        if is_searched:
            parts["a search for nodes to leave out"] = _SEARCH_CALLS * seconds
    if storage is Storage.INT4_WEIGHTS:
        parts[f"second moments of {calls} calls"] = calls * _MULTIPLIED * seconds
    if is_in_half and call and storage is not Storage.FLOAT32:
        parts[f"ranges of {range_calls} calls"] = range_calls * _OBSERVED * seconds
    if storage is not Storage.FLOAT32:
        parts["lowering"] = _SECONDS_A_GIGABYTE * size / 1e9
    if is_calibrated and parity_calls:
        parts[f"parity over {parity_calls} calls"] = parity_calls * _COMPARED * seconds
    return ComponentPlan(
        name=name,
        storage=storage,
        bytes_before=size,
        bytes_after=size * _BITS[storage] // 32,
        work=", ".join(parts) or "copied",
        seconds=_FIXED_SECONDS + sum(parts.values()),
    )


_CALLS: Mapping[Role, tuple[str, int]] = {
    Role.DENOISER: ("step", _DENOISER_PARITY_CALLS),
    Role.CONTROL: ("step", _DECODER_PARITY_CALLS),
    Role.IMAGE_DECODER: ("decoding", _DECODER_PARITY_CALLS),
}
