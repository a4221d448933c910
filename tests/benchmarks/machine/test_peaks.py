"""The micro-benchmark of peaks counts what it multiplies, and multiplies in the precision that it says."""

from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.benchmarks.machine.peaks import CHAINS, CONVOLUTIONS, MATRICES, Chain, measure_peaks, write_chain
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.quantize.verify.audit_onnxruntime import record_onnxruntime
from mezzotint.quantize.verify.audit_openvino import record_openvino

RECORDERS = {"openvino": record_openvino, "onnxruntime": record_onnxruntime}


def entry(chain: Chain) -> Array:
    numbers: Array = np.random.default_rng(1).standard_normal(chain.shape).astype(np.float32)
    return numbers


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.operator)
@pytest.mark.parametrize("precision", [Compute.F32, None], ids=["f32", "int8"])
@pytest.mark.parametrize("engine", [OPENVINO, ONNXRUNTIME], ids=lambda engine: engine.name)
def test_kernels_multiply_as_often_and_in_what_it_says(
    engine: Engine, precision: Compute | None, chain: Chain, tmp_path: Path
) -> None:
    path = tmp_path / "chain.onnx"
    write_chain(path, engine, chain, precision)
    kernels = [one for one in RECORDERS[engine.name](path, {"x": entry(chain)}, "f32") if one.macs]
    assert sum(one.macs for one in kernels) == chain.macs
    assert {one.precision for one in kernels} == {"int8" if precision is None else "f32"}


def test_links_neither_grow_nor_fade(tmp_path: Path) -> None:
    for chain in CHAINS:
        component = write_chain(tmp_path / "chain.onnx", ONNXRUNTIME, chain, Compute.F32)
        graph = ONNXRUNTIME.open(tmp_path / "chain.onnx", component, EngineOptions(Compute.F32))
        (output,) = graph.infer([entry(chain)])
        assert output.shape == chain.output
        assert 0.2 < float(np.std(output)) < 5.0


def test_every_precision_of_an_engine_has_a_peak() -> None:
    peaks = measure_peaks(ONNXRUNTIME, threads=1)
    assert set(peaks) == {"f32", "int8"}
    assert min(peaks.values()) > 0.1
    assert MATRICES.macs == 4 * 1024 * 512**2
    assert CONVOLUTIONS.macs == (30**2 + 28**2 + 26**2 + 24**2) * 128**2 * 9
