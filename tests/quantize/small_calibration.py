"""Calibration data over a graph of a few nodes: the calls are given, and the bundle is one folder with one graph."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.manifest import Component, Manifest, Source, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.calibrate.statistics import TensorStatistics
from mezzotint.quantize.calibrate.trajectories import CalibrationSettings, Call
from mezzotint.quantize.graphs.graph_file import save_graph
from mezzotint.runtime import Bundle


@dataclass(frozen=True, eq=False)
class GivenCalls(CalibrationData):
    """The same calls for every component; all else is as it is for calls that trajectories led to."""

    given: tuple[Call, ...] = ()

    @property
    def prompts_sha256(self) -> str:
        digest = hashlib.sha256()
        for call in self.given:
            digest.update(b"".join(array.tobytes() for array in call.feeds.values()))
        return digest.hexdigest()

    def calls(self, component: str, count: int, seed: int) -> list[Call]:
        del component, seed
        return list(self.given)[:count]


def small_calibration(
    model: ir.Model, folder: Path, feeds: Sequence[dict[str, Array]], guidance: float = 2.0
) -> CalibrationData:
    """One call of `model` for each of `feeds`; it is every component of the bundle that is made in `folder`."""
    names = save_graph(model, folder)
    shapes = {name: array.shape for name, array in feeds[0].items()}
    inputs = tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())
    outputs = (TensorSpec(str(model.graph.outputs[0].name), "float32", ()),)
    spec = Component(tuple(file_entry(folder, name) for name in names), Storage.FLOAT32, Compute.F32, inputs, outputs)
    components = dict.fromkeys(STABLE_DIFFUSION.components, spec)
    manifest = Manifest(STABLE_DIFFUSION.name, Source("small", "0" * 64), "fp32", "portable", components)
    settings = CalibrationSettings(scheduler="ddim", guidance=guidance)
    given = tuple(Call(0, one) for one in feeds)
    return GivenCalls(Bundle(folder, manifest), ("a prompt",), settings, (), given=given)


def statistics_of_values(values: Array) -> TensorStatistics:
    """The statistics of (B, tokens, C) values, every place of them sampled."""
    flat = values.reshape(1, -1)
    others = tuple(range(values.ndim - 1))
    return TensorStatistics(
        low=flat.min(axis=1),
        high=flat.max(axis=1),
        channel_low=values.min(axis=others),
        channel_high=values.max(axis=others),
        channel_mean=values.mean(axis=others),
        samples=flat,
        channels=np.arange(flat.size)[np.newaxis] % values.shape[-1],
        steps=np.zeros(1),
        shape=np.array(values.shape),
    )
