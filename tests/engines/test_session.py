"""Sessions: the engines give numpy's answer, and what cannot be run is refused with got and expected."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.lineup import installed_engines
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from tests.runtime.small_graphs import COMPONENT, expected, feeds, save_graph

F32 = EngineOptions(Compute.F32)
each_engine = pytest.mark.parametrize("engine", installed_engines(), ids=lambda engine: engine.name)


def open_session(folder: Path, engine: Engine, options: EngineOptions = F32) -> Session:
    return Session.open("small", save_graph(folder), COMPONENT, engine, options)


def assert_right(outputs: dict[str, Array], inputs: dict[str, Array]) -> None:
    answers = expected(inputs)
    assert list(outputs) == list(answers)
    for name, answer in answers.items():
        assert outputs[name].dtype == answer.dtype
        assert outputs[name].shape == answer.shape
        np.testing.assert_allclose(outputs[name], answer, rtol=1e-6)


@each_engine
def test_the_answer_is_numpys_at_every_size(tmp_path: Path, engine: Engine) -> None:
    """More sizes than an engine keeps compiled, and back again."""
    session = open_session(tmp_path, engine)
    for batch, width in [(1, 1), (2, 5), (7, 3), (1, 1), (2, 5), (2, 5)]:
        inputs = feeds(batch, width, seed=batch)
        assert_right(session.run(inputs), inputs)


@each_engine
def test_any_order_and_any_memory_layout_will_do(tmp_path: Path, engine: Engine) -> None:
    session = open_session(tmp_path, engine)
    inputs = feeds()
    assert_right(session.run(dict(reversed(inputs.items()))), inputs)

    strided = {**inputs, "x": np.asfortranarray(inputs["x"]), "ids": np.repeat(inputs["ids"], 2)[::2]}
    assert not strided["x"].flags.c_contiguous
    assert_right(session.run(strided), inputs)

    frozen = {name: array.copy() for name, array in inputs.items()}
    for array in frozen.values():
        array.flags.writeable = False
    assert_right(session.run(frozen), inputs)


@each_engine
def test_outputs_outlive_the_next_call_and_inputs_are_left_alone(tmp_path: Path, engine: Engine) -> None:
    session = open_session(tmp_path, engine)
    first, second = feeds(seed=1), feeds(seed=2)
    kept = {name: array.copy() for name, array in first.items()}
    outputs = session.run(first)
    outputs["scaled"] += 0  # they are ours to write to
    session.run(second)
    assert_right(outputs, kept)
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])


@each_engine
def test_threads_do_not_mix_their_calls(tmp_path: Path, engine: Engine) -> None:
    session = open_session(tmp_path, engine)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        inputs = feeds(batch=1 + seed % 3, width=64, seed=seed)
        try:
            for _ in range(50):
                assert_right(session.run(inputs), inputs)
        except BaseException as error:  # noqa: BLE001 -- a thread's failure has to reach the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class NeverRun:
    """A graph that fails the test when bad inputs reach it."""

    def infer(self, arrays: Any) -> list[Array]:
        raise AssertionError(f"the engine got {len(arrays)} inputs that should have been refused")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros(1)}, r"got the inputs \['ids', 'scale', 'x', 'y'\], expected \['x', 'scale', 'ids'\]"),
        ({"x": None}, r"got the inputs \['ids', 'scale'\], expected \['x', 'scale', 'ids'\]"),
        ({"x": np.zeros((2, 3, 5))}, "input 'x' has dtype float64, expected float32"),
        ({"ids": np.zeros(2, np.int32)}, "input 'ids' has dtype int32, expected int64"),
        ({"x": np.zeros((2, 3), np.float32)}, r"'x' has shape \(2, 3\), expected 3 dims \('batch', 3, 'width'\)"),
        ({"scale": np.zeros(1, np.float32)}, r"'scale' has shape \(1,\), expected 0 dims \(\)"),
        ({"x": np.zeros((2, 4, 5), np.float32)}, "'x' has size 4 on axis 1, expected 3 = 3"),
        ({"ids": np.zeros(3, np.int64)}, "'ids' has size 3 on axis 0, expected batch = 2"),
        ({"x": np.zeros((2, 3, 0), np.float32)}, r"'x' has size 0 on axis 2, expected width = 0 \(at least 1\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_got_and_expected(changes: dict[str, Any], message: str) -> None:
    session = Session("small", COMPONENT, NeverRun(), Compute.F32)
    inputs = {name: array for name, array in (feeds() | changes).items() if array is not None}
    with pytest.raises(MezzotintError, match=f"small: .*{message}"):
        session.run(inputs)


def test_one_symbol_binds_within_one_input_too() -> None:
    component = replace(COMPONENT, inputs=(TensorSpec("x", "float32", ("side", "side")),))
    with pytest.raises(MezzotintError, match="size 3 on axis 1, expected side = 2"):
        Session("small", component, NeverRun(), Compute.F32).run({"x": np.zeros((2, 3), np.float32)})


@each_engine
@pytest.mark.parametrize("threads", [0, -1, 1025, 100_000])
def test_threads_that_no_machine_has_are_an_error(tmp_path: Path, engine: Engine, threads: int) -> None:
    with pytest.raises(MezzotintError, match=f"got {threads} threads for small, expected at least 1 and at most 1024"):
        open_session(tmp_path, engine, EngineOptions(Compute.F32, threads))


@each_engine
def test_a_number_of_threads_is_taken(tmp_path: Path, engine: Engine) -> None:
    inputs = feeds()
    assert_right(open_session(tmp_path, engine, EngineOptions(Compute.F32, threads=1)).run(inputs), inputs)


@each_engine
def test_a_precision_that_is_not_offered_is_refused(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(MezzotintError, match=rf"{engine.name} cannot compute small in f16 .*--precision .*f32"):
        open_session(tmp_path, engine, EngineOptions(Compute.F16))


@each_engine
@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\x08\x0a" * 50])
def test_a_file_that_is_no_graph_is_an_error_of_loading(tmp_path: Path, engine: Engine, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MezzotintError, match=r"cannot load .*model\.onnx"):
        Session.open("small", path, COMPONENT, engine, F32)


@each_engine
def test_a_graph_other_than_the_manifest_says_is_an_error_of_loading(tmp_path: Path, engine: Engine) -> None:
    path = save_graph(tmp_path)
    spec = TensorSpec("z", "float32", ())
    for component in (
        replace(COMPONENT, inputs=(*COMPONENT.inputs[1:], spec)),
        replace(COMPONENT, inputs=COMPONENT.inputs[1:]),
        replace(COMPONENT, outputs=(spec,)),
    ):
        with pytest.raises(MezzotintError, match=r"has the inputs \['ids', 'scale', 'x'\] and outputs .*expected"):
            Session.open("small", path, component, engine, F32)


@each_engine
def test_fewer_outputs_than_the_graph_has_will_do(tmp_path: Path, engine: Engine) -> None:
    component = replace(COMPONENT, outputs=COMPONENT.outputs[1:])
    inputs = feeds()
    outputs = Session.open("small", save_graph(tmp_path), component, engine, F32).run(inputs)
    assert list(outputs) == ["twice"]
    np.testing.assert_array_equal(outputs["twice"], expected(inputs)["twice"])
