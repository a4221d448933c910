"""What the compiler is told, with bindings that are not there, and what is said when its process does not end well."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.engines.rtx import builder, compiler
from mezzotint.engines.rtx.builder import Built, build_engine
from mezzotint.engines.rtx.compiler import Answer, Request, compile_graph
from mezzotint.errors import CheckFailed, MezzotintError

_FAULT = "no dedicated kernel"
_REQUEST = Request(path="model.onnx", shapes={"x": (2, 3)}, capabilities=("8.9", "12.0"))


@dataclass
class _Layer:
    """Of a network; the compiler's own have the attributes of their kind once they are of its class."""

    type: str
    name: str = "layer"
    metadata: str = ""
    attention: Any = field(default_factory=lambda: SimpleNamespace(decomposable=False))


class _AttentionOutput(_Layer): ...


@dataclass
class _Network:
    layers: list[_Layer]
    input: Any
    num_inputs: int = 1

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> _Layer:
        return self.layers[index]

    def get_input(self, _index: int) -> Any:
        return self.input


class _Logger:
    def __init__(self) -> None: ...


@dataclass
class _Bindings:
    """A compiler that has no single kernel for any attention, as for heads of a width that it has none for."""

    layers: list[_Layer]
    input: Any = field(default_factory=lambda: SimpleNamespace(name="x", shape=None))
    __version__: str = "1.7.1"
    ILogger: Any = _Logger
    IAttentionOutputLayer: Any = _AttentionOutput
    LayerType: Any = field(
        default_factory=lambda: SimpleNamespace(
            ATTENTION_OUTPUT="attention", CONVOLUTION="convolution", MATRIX_MULTIPLY="product"
        )
    )
    NetworkDefinitionCreationFlag: Any = field(default_factory=lambda: SimpleNamespace(STRONGLY_TYPED=1))

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        def build(network: _Network, _settings: Any) -> bytes | None:
            if all(layer.attention.decomposable for layer in network.layers if layer.type == "attention"):
                return b"plan"
            logger.log(SimpleNamespace(name="ERROR"), _FAULT)
            return None

        return SimpleNamespace(
            create_network=lambda _flags: _Network(self.layers, self.input), build_serialized_network=build
        )

    def OnnxParser(self, _network: Any, _logger: Any) -> Any:  # noqa: N802
        return SimpleNamespace(parse_from_file=lambda _path: True)


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> _Bindings:
    monkeypatch.setattr(compiler, "_settings", lambda *_: None)
    return _Bindings([_Layer("shuffle"), _Layer("attention"), _Layer("attention")])


def test_attention_without_a_kernel_of_its_own_may_become_products(bindings: _Bindings) -> None:
    answer, plan = compile_graph(bindings, _REQUEST)
    assert (bytes(plan), answer.size) == (b"plan", 4)
    assert [layer.attention.decomposable for layer in bindings.layers] == [False, True, True]
    assert bindings.input.shape == (2, 3)


def test_what_the_compiler_says_is_the_reason(bindings: _Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_let_attention_be_parted", lambda *_: None)
    with pytest.raises(CheckFailed, match=rf"1\.7\.1 cannot compile model\.onnx for 8\.9, 12\.0: {_FAULT}"):
        compile_graph(bindings, _REQUEST)


def test_a_graph_whose_inputs_are_others_than_the_manifest_says_is_named(bindings: _Bindings) -> None:
    bindings.input.name = "y"
    with pytest.raises(MezzotintError, match=r"model\.onnx has the inputs \['y'\], expected \['x'\]"):
        compile_graph(bindings, _REQUEST)


def build(monkeypatch: pytest.MonkeyPatch, script: str) -> Built:
    """With `script` in the compiler's place."""
    monkeypatch.setattr(builder, "_COMPILER", ("-c", script))
    monkeypatch.setattr(builder, "builder_version", lambda: "1.7.1")
    return build_engine(Path("model.onnx"), {"x": (2, 3)}, ("8.9",))


def answering(answer: Answer, plan: bytes = b"") -> str:
    """A compiler that has this answer."""
    said = json.dumps(asdict(answer)).encode() + b"\n" + plan
    return f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({said!r})"


def test_an_engine_comes_with_what_was_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "Name: a, LayerType: gemm, Inputs: [], Outputs: [], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: n]"
    plan = bytes(range(32)) * 500
    answer = Answer(size=len(plan), record=[line], macs={"n": 6}, warnings={"careful": 2})
    built = build(monkeypatch, answering(answer, plan))
    assert bytes(built.plan) == plan
    assert [layer.nodes for layer in built.layers] == [("n",)]
    assert (built.macs, built.warnings) == ({"n": 6}, {"careful": 2})


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (answering(Answer(macs={}, warnings={}, refusal="it refuses a/Conv")), "^it refuses a/Conv$"),
        ("import os; os.kill(os.getpid(), 11)", r"did not get through model\.onnx: it crashed \(signal 11\)"),
        ("import os; os.kill(os.getpid(), 9)", "the system ended it, most likely for want of memory"),
        ("raise SystemExit('no such library')", "it ended with code 1, and said no such library"),
        (answering(Answer(size=5, macs={}, warnings={}), b"four"), "it ended with code 0, and said nothing"),
    ],
    ids=["refused", "crashed", "killed", "ended", "cut short"],
)
def test_a_compiler_that_does_not_get_through_costs_one_sentence(
    monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    with pytest.raises(CheckFailed, match=why):
        build(monkeypatch, script)


@pytest.mark.parametrize("shape", [(2, -4), (0,)])
def test_a_shape_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(builder, "builder_version", lambda: pytest.fail("it went on"))
    with pytest.raises(MezzotintError) as caught:
        build_engine(Path("model.onnx"), {"x": shape}, ("8.9",))
    assert (caught.value.what, caught.value.got) == ("the shape of x", shape)


def test_what_the_bindings_raise_is_a_refusal(tmp_path: Path) -> None:
    script = "from mezzotint.engines.rtx import compiler\ncompiler.rtx_library = lambda: 1 / 0\ncompiler.main()"
    with asking(script, tmp_path) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())["refusal"]
    assert said == "TensorRT-RTX does not take model.onnx (ZeroDivisionError: division by zero)"


def asking(script: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that was asked, and is still listened to."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, cwd=folder)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(_REQUEST)).encode() + b"\n")
    process.stdin.flush()
    return process


def test_an_interruption_ends_the_compiler_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    script = f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); "
    script += answering(Answer(size=8, macs={}, warnings={})) + "; sys.stdout.flush(); time.sleep(600)"

    def interrupted(_plan: bytearray, _pipe: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "_fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(monkeypatch, script)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_the_compiler_ends_with_whoever_asked(tmp_path: Path) -> None:
    wait = "import time\nfrom mezzotint.engines.rtx import compiler\n"
    wait += "compiler.rtx_library = lambda: time.sleep(600)\ncompiler.main()"
    with asking(wait, tmp_path) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 1
