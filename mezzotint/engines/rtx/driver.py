"""CUDA's driver, by its C interface, as far as running an engine needs it: memory, copies and a stream.

The driver comes with the GPU; nothing else of CUDA has to be installed (docs.nvidia.com/cuda, "CUDA Driver API").
"""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError

_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_MAJOR, _MINOR = 75, 76  # attributes of a device: its compute capability
_OUT_OF_MEMORY = 2
_NO_DEVICE = 100
_LONGEST_NAME = 256  # bytes
_OLDEST = 12000  # CUDA 12.0, which the packages are built for
_ADVICE = {
    _OUT_OF_MEMORY: "out of memory; generate fewer images at once or a smaller size",
    _NO_DEVICE: "there is no GPU that it may use; check CUDA_VISIBLE_DEVICES",
    35: "the driver is too old; install a newer one",
    803: "the driver does not fit the kernel's module; restart the machine or install the driver again",
}


@dataclass(frozen=True)
class Driver:
    """The first GPU that is visible. Its context must be current in a thread before anything else: `use`."""

    library: Any
    context: c_void_p
    stream: c_void_p
    capability: str  # "8.9"

    def use(self) -> None:
        """Make the GPU's context the calling thread's."""
        self._do("cuCtxSetCurrent", self.context)

    def allocate(self, size_bytes: int) -> int:
        """The address of new device memory."""
        address = c_uint64()
        self._do("cuMemAlloc_v2", byref(address), c_size_t(max(size_bytes, 1)))
        return int(address.value)

    def free(self, address: int) -> None:
        """Give memory back."""
        self._do("cuMemFree_v2", c_uint64(address))

    def to_device(self, address: int, array: Array) -> None:
        """Copy a contiguous array to the device, in the stream's order."""
        pointer = c_void_p(array.ctypes.data)
        self._do("cuMemcpyHtoDAsync_v2", c_uint64(address), pointer, c_size_t(array.nbytes), self.stream)

    def to_host(self, address: int, shape: tuple[int, ...], dtype: str) -> Array:
        """A copy of what lies on the device, when the stream is done with all that came before."""
        array = np.empty(shape, dtype=dtype)
        pointer = c_void_p(array.ctypes.data)
        self._do("cuMemcpyDtoHAsync_v2", pointer, c_uint64(address), c_size_t(array.nbytes), self.stream)
        self._do("cuStreamSynchronize", self.stream)
        return array

    def _do(self, name: str, *arguments: object) -> None:
        _call(self.library, name, *arguments)


def open_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """The driver with its first GPU; MezzotintError says which part is missing or too old."""
    library = _load(load)
    version, device, context, stream = c_int(), c_int(), c_void_p(), c_void_p()
    _call(library, "cuDriverGetVersion", byref(version))
    if version.value < _OLDEST:
        said = f"{version.value // 1000}.{version.value % 1000 // 10}"
        raise MezzotintError(f"the NVIDIA driver knows CUDA {said} at most, expected 12.0; install a newer driver")
    _call(library, "cuInit", 0)
    _call(library, "cuDeviceGet", byref(device), 0)
    _call(library, "cuDevicePrimaryCtxRetain", byref(context), device)
    _call(library, "cuCtxSetCurrent", context)
    _call(library, "cuStreamCreate", byref(stream), 1)
    numbers = [_attribute(library, attribute, device) for attribute in (_MAJOR, _MINOR)]
    return Driver(library, context, stream, ".".join(map(str, numbers)))


def visible_gpus(load: Callable[[str], Any] = ctypes.CDLL) -> tuple[str, ...]:
    """Every GPU that this process may use, such as "NVIDIA GeForce RTX 4090, compute capability 8.9"; the first runs.

    None where there is no driver, or it says that there is no GPU.
    """
    count, found = c_int(), []
    try:
        library = _load(load)
        _call(library, "cuInit", 0)
        _call(library, "cuDeviceGetCount", byref(count))
        for index in range(count.value):
            device, name = c_int(), ctypes.create_string_buffer(_LONGEST_NAME)
            _call(library, "cuDeviceGet", byref(device), index)
            _call(library, "cuDeviceGetName", name, _LONGEST_NAME, device)
            numbers = [str(_attribute(library, attribute, device)) for attribute in (_MAJOR, _MINOR)]
            found.append(f"{name.value.decode(errors='replace')}, compute capability {'.'.join(numbers)}")
    except MezzotintError:
        return ()
    return tuple(found)


def _attribute(library: Any, attribute: int, device: c_int) -> int:
    number = c_int()
    _call(library, "cuDeviceGetAttribute", byref(number), attribute, device)
    return number.value


def _load(load: Callable[[str], Any]) -> Any:
    for name in _LIBRARIES:
        try:
            return load(name)
        except OSError:
            continue
    raise MezzotintError("this machine has no NVIDIA driver; install it, or pass --backend openvino or onnxruntime")


def _call(library: Any, name: str, *arguments: object) -> None:
    code = int(getattr(library, name)(*arguments))
    if code == _OUT_OF_MEMORY:
        raise MemoryError(f"CUDA: {_ADVICE[code]}")
    if code:
        raise MezzotintError(f"CUDA's {name} failed with code {code}: {_ADVICE.get(code, 'see the CUDA driver API')}")
