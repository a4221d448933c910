"""A calibration over a graph of a few nodes: the calls are given, and the bundle is one folder with one graph."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.progress import Progress, silent
from mezzotint.quantize.calibrate.statistics import TensorStatistics
from mezzotint.quantize.calibrate.trajectories import CalibrationSettings, Call
from mezzotint.quantize.decide.integer import Calibration
from mezzotint.quantize.graphs.graph_file import save_graph


@dataclass(frozen=True)
class SmallBundle:
    """One graph in a folder, whatever component is asked for."""

    path: Path
    spec: Component

    def component(self, _name: str) -> Component:
        return self.spec

    def graph_path(self, _name: str) -> Path:
        return self.path / self.spec.files[0].path


@dataclass(frozen=True)
class SmallCalibration:
    """What the search and the parity check ask of a `Calibration`."""

    bundle: SmallBundle
    given: Sequence[Call]
    settings: CalibrationSettings
    prompts: tuple[str, ...] = ("a prompt",)
    progress: Progress = silent

    @property
    def prompts_sha256(self) -> str:
        digest = hashlib.sha256()
        for call in self.given:
            digest.update(b"".join(array.tobytes() for array in call.feeds.values()))
        return digest.hexdigest()

    def calls(self, _component: str, count: int, _seed: int) -> list[Call]:
        return list(self.given)[:count]


def small_calibration(
    model: ir.Model, folder: Path, feeds: Sequence[dict[str, Array]], guidance: float = 2.0
) -> Calibration:
    """A calibration of `model`, which is written into `folder`, over one call for each of `feeds`."""
    names = save_graph(model, folder)
    shapes = {name: array.shape for name, array in feeds[0].items()}
    inputs = tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())
    outputs = (TensorSpec(str(model.graph.outputs[0].name), "float32", ()),)
    spec = Component(tuple(file_entry(folder, name) for name in names), Storage.FLOAT32, Compute.F32, inputs, outputs)
    settings = CalibrationSettings(scheduler="ddim", guidance=guidance)
    given = [Call(0, one) for one in feeds]
    return cast(Calibration, SmallCalibration(SmallBundle(folder, spec), given, settings))


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
