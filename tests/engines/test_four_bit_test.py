"""The self-test of 4-bit weights: engines here pass; one that reads codes in another order is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.engines.engine import Engine, EngineOptions, Graph
from mezzotint.engines.four_bit_test import check_four_bits
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.errors import MezzotintError

BOTH = pytest.mark.parametrize("engine", [OPENVINO, ONNXRUNTIME], ids=lambda engine: engine.name)


def with_swapped_codes(engine: Engine) -> Engine:
    """An engine that takes the high half of each byte for the first code."""

    def open_graph(path: Path, component: Component, options: EngineOptions) -> Graph:
        model = onnx.load(path)
        (codes,) = (one for one in model.graph.initializer if one.name == "codes")
        array: Array = numpy_helper.to_array(codes)
        codes.CopyFrom(numpy_helper.from_array((array >> 4) | (array << 4), "codes"))
        onnx.save(model, path)
        return engine.open(path, component, options)

    return replace(engine, open=open_graph)


@BOTH
def test_engines_here_pass(engine: Engine) -> None:
    check_four_bits(engine)


@BOTH
def test_codes_in_another_order_are_found(engine: Engine) -> None:
    with pytest.raises(MezzotintError, match=rf"^{engine.name} multiplies by 4-bit weights wrongly .*; use an int8"):
        check_four_bits(with_swapped_codes(engine))


def test_it_runs_once_a_process() -> None:
    opened: list[Sequence[object]] = []

    def open_graph(*arguments: object) -> Graph:
        opened.append(arguments)
        return ONNXRUNTIME.open(*arguments)  # type: ignore[arg-type]  # as they came

    engine = replace(ONNXRUNTIME, open=open_graph)
    check_four_bits(engine)
    check_four_bits(engine)
    assert len(opened) == 1
