"""What the search goes by: times of single nodes, and the noise of weights against a network with them rounded."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import dequantize, quantize
from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.decibel import sqnr_db
from mezzotint.progress import silent
from mezzotint.quantize.calibrate.calibrate import cached_statistics, probes_for, with_quantizers
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.calibrate.run import CalibrationRun
from mezzotint.quantize.calibrate.statistics import TensorStatistics
from mezzotint.quantize.calibrate.trajectories import CalibrationSettings, Call
from mezzotint.quantize.graphs.weighted import weight_error, weight_quantizer, weighted_nodes
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.rules.rule import decide
from mezzotint.quantize.rules.stable_diffusion import UNET_W8A8
from mezzotint.quantize.search.costs import Costs
from mezzotint.quantize.search.evidence import gather_evidence
from mezzotint.quantize.search.node_time import can_be_timed, node_time_ms, one_node_model
from mezzotint.quantize.search.sensitivity import noise_alone
from mezzotint.runtime import Bundle
from tests.quantize.calibrate.test_calibrate import calls_of
from tests.quantize.small_graphs import (
    CONV,
    CONV_STRIDED,
    GEMM,
    LINEAR,
    activations,
    decided,
    grid,
    run,
    run_all,
    small_graph,
    weight_of,
)

SHAPES = {CONV: (2, 8, 6, 5), CONV_STRIDED: (2, 8, 8, 8), LINEAR: (2, 7, 24), GEMM: (3, 24)}
OUTPUT = "out_sample"


@pytest.mark.parametrize("text", SHAPES, ids=["conv", "strided", "linear", "gemm"])
def test_a_node_alone_computes_what_it_does_in_the_graph(text: str, tmp_path: Path) -> None:
    model = small_graph(text)
    x = activations(*SHAPES[text])
    alone = one_node_model(weighted_nodes(model.graph)[0], x.shape)
    np.testing.assert_allclose(
        run(alone, tmp_path, "onnxruntime", {"x": x}), run(model, tmp_path, "onnxruntime", {"x": x}), rtol=1e-5
    )


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("text", [CONV, LINEAR], ids=["conv", "linear"])
def test_every_target_times_a_node_both_ways(backend: str, text: str) -> None:
    pytest.importorskip(backend)
    item = weighted_nodes(small_graph(text).graph)[0]
    target = find_target(backend)
    assert can_be_timed(target)
    decision = decided(item.name, entry=grid(-3.0, 3.0), exit_=grid(-9.0, 9.0))[item.name]
    for one in (decision, decision.in_floats()):
        assert 0.0 < node_time_ms(item, SHAPES[text], one, target) < 1e3


def test_the_error_of_weights_is_what_a_run_shows() -> None:
    """Uncorrelated inputs, as the estimate takes them: the relative energy of the error at the output."""
    model = small_graph(LINEAR)
    item = weighted_nodes(model.graph)[0]
    x = np.random.default_rng(5).standard_normal((4, 256, 24)).astype(np.float32)
    weight = item.weight_array()
    quantizer = weight_quantizer(weight, item.output_axis)
    flat = x.reshape(1, -1)
    statistics = TensorStatistics(
        low=flat.min(axis=1),
        high=flat.max(axis=1),
        channel_low=x.min(axis=(0, 1)),
        channel_high=x.max(axis=(0, 1)),
        channel_mean=x.mean(axis=(0, 1)),
        samples=flat,
        channels=np.arange(flat.size)[np.newaxis] % 24,
        steps=np.zeros(1),
    )
    rounded = dequantize(quantize(weight, quantizer), quantizer)
    measured = -sqnr_db(x @ weight, x @ rounded)
    assert 10.0 * np.log10(weight_error(item, weight, statistics.channel_power)) == pytest.approx(measured, abs=0.3)
    np.testing.assert_array_equal(weight, weight_of(model, "block.fc.weight"))


def test_noise_of_weights_is_near_that_of_a_network_with_them_rounded(tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = ir.load(tiny_bundle.graph_path("unet"))
    component = tiny_bundle.component("unet")
    calls = calls_of(4)
    everything = decide([item.name for item in weighted_nodes(model.graph)], UNET_W8A8)
    integer = [name for name, one in everything.items() if one.scheme is NodeScheme.W8A8]
    some = set(integer[:: len(integer) // 8])  # each node that is timed takes a second or two
    found = {name: one if name in some else one.in_floats() for name, one in everything.items()}
    data = CalibrationData(tiny_bundle, ("evidence",), CalibrationSettings(scheduler="ddim"), ())
    statistics = cached_statistics(data, "unet", probes_for(model.graph, found), calls, CalibrationRun())
    decisions = with_quantizers(model.graph, found, statistics)
    noise = noise_alone(model.clone(), decisions, component, calls, lambda output: output, silent)
    table = gather_evidence(
        model.graph, decisions, noise, statistics, find_target("onnxruntime"), Costs(tmp_path / "costs.json")
    )
    assert set(table) == some
    assert all(one.macs > 0 and one.gain_ms is not None for one in table.values())
    plain = run_all(ir.load(tiny_bundle.graph_path("unet")), tmp_path, "onnxruntime", [call.feeds for call in calls])
    differences = []
    for name in table:
        computed_db = table[name].weight_sqnr_db
        assert computed_db is not None
        rounded = rounded_outputs(tiny_bundle, decisions, name, calls, tmp_path)
        differences.append(computed_db - float(np.median(list(map(sqnr_db, plain, rounded)))))
    assert abs(float(np.median(differences))) < 2.0
    assert np.percentile(np.abs(differences), 80) < 6.0  # a node or two of a random network may lie farther off


def rounded_outputs(
    bundle: Bundle, decisions: Decisions, name: str, calls: list[Call], folder: Path
) -> list[FloatArray]:
    """What the network says with the weight of one node rounded, the rest in FP32."""
    assert decisions[name].scheme is NodeScheme.W8A8
    model = ir.load(bundle.graph_path("unet"))
    item = next(item for item in weighted_nodes(model.graph) if item.name == name)
    quantizer = weight_quantizer(item.weight_array(), item.output_axis)
    rounded = dequantize(quantize(item.weight_array(), quantizer), quantizer)
    item.weight.const_value = ir.tensor(rounded.astype(np.float32), name=item.weight.name)
    return run_all(model, folder, "onnxruntime", [call.feeds for call in calls])
