"""TensorRT-RTX's runtime and a GPU's driver that are not there: memory is numpy's, and an engine runs on a CPU engine.

A plan is the path of the graph that it was built of. What a GPU would not allow is refused: memory that nobody
allocated, a copy of another size, tensors without an address, a run whose output is read before the stream is done.
"""

from ctypes import c_int, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from mezzotint.arrays import Array

_TYPES = {"tensor(float)": "FLOAT", "tensor(int64)": "INT64"}


@dataclass
class FakeDriver:
    """Device memory by address."""

    capability: str = "8.9"
    stream: c_void_p = field(default_factory=lambda: c_void_p(7))
    memory: dict[int, Array] = field(default_factory=dict)
    uses: int = 0
    last: int = 4096

    def use(self) -> None:
        self.uses += 1

    def allocate(self, size_bytes: int) -> int:
        self.last += size_bytes + 256
        self.memory[self.last] = np.zeros(size_bytes, dtype=np.uint8)
        return self.last

    def free(self, address: int) -> None:
        del self.memory[address]

    def to_device(self, address: int, array: Array) -> None:
        assert array.flags.c_contiguous
        assert array.nbytes == self.memory[address].nbytes
        self.memory[address][:] = np.frombuffer(array.tobytes(), dtype=np.uint8)

    def to_host(self, address: int, shape: tuple[int, ...], dtype: str) -> Array:
        return np.frombuffer(self.memory[address].tobytes(), dtype=dtype).reshape(shape).copy()


@dataclass
class FakeRtx:
    """The bindings' runtime, as far as `rtx_graph.py` uses it; `builds` has what was compiled."""

    driver: FakeDriver
    builds: list[Any] = field(default_factory=list)
    strategies: list[str] = field(default_factory=list)
    kernels_read: int = 0
    renamed: dict[str, str] = field(default_factory=dict)  # what engines call tensors, where not as the graph does
    dtypes: dict[str, str] = field(default_factory=dict)  # and the types that they have
    is_open: bool = False  # whether outputs have shapes that nobody knows
    TensorIOMode: Any = field(default_factory=lambda: SimpleNamespace(INPUT="input"))
    CudaGraphStrategy: Any = field(default_factory=lambda: SimpleNamespace(WHOLE_GRAPH_CAPTURE="captured"))

    def build(self, path: Path, shapes: Any, capabilities: Any) -> Any:
        self.builds.append((path.name, dict(shapes), tuple(capabilities)))
        return SimpleNamespace(plan=memoryview(str(path).encode()))

    def said_by(self, _library: Any) -> Any:
        return SimpleNamespace(fault=lambda: "a fault"), self

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        return _Engine(self, onnxruntime.InferenceSession(plan.decode(), providers=["CPUExecutionProvider"]))


@dataclass
class _Engine:
    rtx: FakeRtx
    session: Any

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors())

    def get_tensor_name(self, index: int) -> str:
        name = str(self._tensors()[index].name)
        return self.rtx.renamed.get(name, name)

    def get_tensor_mode(self, name: str) -> str:
        inputs = [value.name for value in self.session.get_inputs()]
        return "input" if name in [self.rtx.renamed.get(one, one) for one in inputs] else "output"

    def get_tensor_dtype(self, name: str) -> Any:
        types = {value.name: _TYPES[value.type] for value in self._tensors()}
        return SimpleNamespace(name=self.rtx.dtypes.get(name, types[name]))

    def _tensors(self) -> list[Any]:
        return [*self.session.get_inputs(), *self.session.get_outputs()]

    def create_runtime_config(self) -> Any:
        return _Settings(self.rtx)

    def create_execution_context(self, settings: Any) -> Any:
        self.rtx.strategies.append(settings.cuda_graph_strategy)
        assert settings.cache is not None
        return _Context(self.rtx, self.session)


@dataclass
class _Settings:
    rtx: FakeRtx
    cuda_graph_strategy: str = ""
    cache: Any = None

    def create_runtime_cache(self) -> Any:
        def read(_data: bytes) -> None:
            self.rtx.kernels_read += 1

        return SimpleNamespace(serialize=lambda: b"kernels", deserialize=read)

    def set_runtime_cache(self, cache: Any) -> None:
        self.cache = cache


@dataclass
class _Context:
    rtx: FakeRtx
    session: Any
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        feeds = {value.name: self._feed(value) for value in self.session.get_inputs()}
        (result,) = self.session.run([name], feeds)
        return (-1, *result.shape[1:]) if self.rtx.is_open else tuple(result.shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self.rtx.driver.memory
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == self.rtx.driver.stream.value
        feeds = {value.name: self._feed(value) for value in self.session.get_inputs()}
        for value, result in zip(self.session.get_outputs(), self.session.run(None, feeds), strict=True):
            self.rtx.driver.to_device(self.addresses[value.name], np.ascontiguousarray(result))
        return True

    def _feed(self, value: Any) -> Array:
        dtype = {"tensor(float)": "float32", "tensor(int64)": "int64"}[value.type]
        return self.rtx.driver.to_host(self.addresses[value.name], self.shapes[value.name], dtype)


@dataclass
class FakeCuda:
    """The driver's C interface, as far as opening it goes: every call's code, by name, is 0 unless `codes` has it."""

    version: int = 12040
    capability: tuple[int, int] = (8, 9)
    count: int = 1
    codes: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            written: Any = arguments[0]._obj if arguments and hasattr(arguments[0], "_obj") else None
            if name == "cuDriverGetVersion":
                written.value = self.version
            elif name == "cuDeviceGetAttribute":
                written.value = self.capability[0 if arguments[1] == 75 else 1]
            elif name == "cuDeviceGetCount":
                written.value = self.count
            elif name == "cuDeviceGetName":
                arguments[0].value = f"GPU {arguments[2].value}".encode()
            elif isinstance(written, c_int | c_void_p):
                written.value = 5
            return self.codes.get(name, 0)

        return call
