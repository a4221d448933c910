"""An engine that fails says so in one sentence: at load, at run, and when memory is short."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import Engine, EngineOptions, Graph
from mezzotint.engines.engine_errors import is_out_of_memory, reason_of
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from tests.runtime.small_graphs import COMPONENT, feeds, save_graph

F32 = EngineOptions(Compute.F32)
SIZE = Component(
    files=(),
    storage=Storage.FLOAT32,
    compute=Compute.F32,
    inputs=(TensorSpec("x", "float32", ("n",)), TensorSpec("size", "int64", ("rank",))),
    outputs=(TensorSpec("y", "float32", ()),),
)
# y has the shape `size`, of any length and rank: what the engine cannot do is known only when it runs.
EXPAND = """
<ir_version: 10, opset_import: ["" : 20]>
expand (float[n] x, int64[rank] size) => (float[k,l] y) { y = Expand(x, size) }
"""


class Failing:
    """A graph that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        raise self.error if arrays else AssertionError


def failing_engine(error: Exception) -> Engine:
    def fail(_path: Path, _component: Component, _options: EngineOptions) -> Graph:
        raise error

    return Engine("broken", "os", "cpu", (), lambda: (Compute.F32,), fail)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("Exception from src/core.cpp:1:\nCheck 'x' failed\nno such kernel\n"), r"\(no such kernel\)"),
        (ValueError("first line\nsecond line"), r"\(first line\).*mezzotint verify"),
        (KeyError(), r"\(KeyError\)"),
        (MemoryError(), "ran out of memory on the inputs x .*fewer images at once or a smaller size"),
        (RuntimeError("std::bad_alloc"), "ran out of memory"),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer"), "ran out of memory"),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), "ran out of memory"),
    ],
)
def test_an_exception_of_a_run_is_one_sentence_with_the_sizes(error: Exception, message: str) -> None:
    with pytest.raises(MezzotintError, match=message) as caught:
        Session("unet", COMPONENT, Failing(error), Compute.F32).run(feeds(2, 5))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("unet ")
    assert "x (2, 3, 5), scale (), ids (2,)" in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("libfoo.so.1: cannot open shared object file"), r"broken cannot load unet .*libfoo\.so\.1"),
        (MemoryError(), "broken ran out of memory when it loaded unet"),
        (RuntimeError("std::bad_alloc"), "broken ran out of memory when it loaded unet"),
    ],
)
def test_an_exception_of_loading_names_engine_component_and_file(
    tmp_path: Path, error: Exception, message: str
) -> None:
    with pytest.raises(MezzotintError, match=message) as caught:
        Session.open("unet", save_graph(tmp_path), COMPONENT, failing_engine(error), F32)
    assert str(tmp_path) in str(caught.value)


def test_our_own_errors_pass_through() -> None:
    own = MezzotintError("said already")
    with pytest.raises(MezzotintError, match=r"^said already$"):
        Session("unet", COMPONENT, Failing(own), Compute.F32).run(feeds())


def test_an_interrupt_is_not_an_error_of_the_engine() -> None:
    class Interrupted:
        def infer(self, arrays: Sequence[Array]) -> list[Array]:
            raise KeyboardInterrupt if arrays else AssertionError

    with pytest.raises(KeyboardInterrupt):
        Session("unet", COMPONENT, Interrupted(), Compute.F32).run(feeds())


def expand_session(folder: Path, engine: Engine) -> Session:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(EXPAND), path)
    return Session.open("expand", path, SIZE, engine, F32)


@pytest.mark.parametrize("engine", [ONNXRUNTIME, OPENVINO], ids=lambda engine: engine.name)
def test_a_real_failure_of_a_run(tmp_path: Path, engine: Engine) -> None:
    session = expand_session(tmp_path, engine)
    inputs: dict[str, Array] = {
        "x": np.ones(3, np.float32),
        "size": np.array([2, 4], np.int64),
    }  # 3 does not broadcast to 4
    with pytest.raises(MezzotintError, match=r"expand failed on the inputs x \(3,\), size \(2,\) \(.+\); check"):
        session.run(inputs)
    inputs["size"] = np.array([2, 3], np.int64)
    np.testing.assert_array_equal(session.run(inputs)["y"], np.ones((2, 3)))  # and it goes on working


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="asks POSIX for the size of the memory")
def test_a_real_want_of_memory(tmp_path: Path) -> None:
    session = expand_session(tmp_path, ONNXRUNTIME)
    inputs: dict[str, Array] = {"x": np.ones(1, np.float32), "size": np.array([1 << 22, 1 << 24], np.int64)}  # 256 TiB
    with pytest.raises(MezzotintError, match="expand ran out of memory on the inputs"):
        session.run(inputs)


def test_words_about_memory_are_told_from_others() -> None:
    assert is_out_of_memory(RuntimeError("Failed to allocate memory for requested buffer of size 8"))
    assert is_out_of_memory(RuntimeError("CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED ; GPU=0"))
    assert not is_out_of_memory(RuntimeError("no kernel for MemcpyToHost"))
    assert reason_of(RuntimeError("")) == "RuntimeError"
