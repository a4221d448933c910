"""What the compiler is told, with bindings that are not there."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.engines.rtx import builder
from mezzotint.engines.rtx.builder import build_engine
from mezzotint.errors import CheckFailed

_FAULT = "no dedicated kernel"


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
    num_inputs: int = 0

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> _Layer:
        return self.layers[index]


class _Logger:
    def __init__(self) -> None: ...


@dataclass
class _Bindings:
    """A compiler that has no single kernel for any attention, as for heads of a width that it has none for."""

    layers: list[_Layer]
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

        return SimpleNamespace(create_network=lambda _flags: _Network(self.layers), build_serialized_network=build)

    def OnnxParser(self, _network: Any, _logger: Any) -> Any:  # noqa: N802
        return SimpleNamespace(parse_from_file=lambda _path: True)


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> _Bindings:
    found = _Bindings([_Layer("shuffle"), _Layer("attention"), _Layer("attention")])
    monkeypatch.setattr(builder, "rtx_library", lambda: found)
    monkeypatch.setattr(builder, "_settings", lambda *_: None)
    return found


def test_attention_without_a_kernel_of_its_own_may_become_products(bindings: _Bindings) -> None:
    assert bytes(build_engine(Path("model.onnx"), {}, ("8.9",)).plan) == b"plan"
    assert [layer.attention.decomposable for layer in bindings.layers] == [False, True, True]


def test_what_the_compiler_says_is_the_reason(bindings: _Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "_let_attention_be_parted", lambda *_: None)
    with pytest.raises(CheckFailed, match=rf"1\.7\.1 cannot compile model\.onnx for 8\.9, 12\.0: {_FAULT}"):
        build_engine(Path("model.onnx"), {}, ("8.9", "12.0"))
    assert not any(layer.attention.decomposable for layer in bindings.layers)
