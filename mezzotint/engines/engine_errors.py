"""What an engine's exception says to a user: one sentence, with what to do next."""

from collections.abc import Mapping
from pathlib import Path

from mezzotint.disk_full import disk_full_error
from mezzotint.errors import MezzotintError

_NO_MEMORY = (
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "failed to allocate",
    "could not allocate",
    "cannot allocate",
    "can't allocate",
    "not enough memory",
    "outofmemory",  # TensorRT
    "alloc_failed",  # cuDNN and cuBLAS
)


def reason_of(error: BaseException) -> str:
    """The line of an engine's message that says what happened: OpenVINO's last, for it begins with its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if lines[0].startswith(("Exception from", "Check ")) else lines[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine, PyTorch or numpy failed for want of memory, the GPU's included."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)


def load_error(name: str, path: Path, engine: str, error: Exception) -> MezzotintError:
    """For an exception while `engine` loaded the component `name`."""
    if is_out_of_memory(error):
        return MezzotintError(f"{engine} ran out of memory when it loaded {name} from {path}; close other programs")
    full = disk_full_error(error)  # the self-test writes its graph to a temporary folder
    if full is not None:
        return full
    return MezzotintError(
        f"{engine} cannot load {name} from {path} ({reason_of(error)}); install {engine} again or pass another "
        "--backend"
    )


def run_error(name: str, shapes: Mapping[str, tuple[int, ...]], error: Exception) -> MezzotintError:
    """For an exception while the component `name` ran on inputs of `shapes`."""
    sizes = ", ".join(f"{tensor} {shape}" for tensor, shape in shapes.items())
    if is_out_of_memory(error):
        return MezzotintError(
            f"{name} ran out of memory on the inputs {sizes}; generate fewer images at once or a smaller size"
        )
    return MezzotintError(
        f"{name} failed on the inputs {sizes} ({reason_of(error)}); check the bundle with `mezzotint verify` or pass "
        "another --backend"
    )
