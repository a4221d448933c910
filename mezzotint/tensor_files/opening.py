"""Opening a file of weights, whose first bytes say what it is: its name may say anything."""

import mmap
from collections.abc import Callable
from pathlib import Path

from mezzotint.bundle.weight_faults import stand_in_fault
from mezzotint.errors import MezzotintError

from .fault import FaultError
from .safetensors_table import LENGTH_BYTES, read_safetensors
from .stored import Content
from .tensor_file import Table, TensorFile
from .torch_legacy import read_torch_legacy
from .torch_zip import read_torch_zip

_ZIP, _PICKLE, _TABLE = b"PK\x03\x04", b"\x80", b"{"
_TAR_AT, _TAR = 257, b"ustar"
# What else lies under the same names, by first bytes: what it is and what to do.
_OTHERS = (
    (b"GGUF", "a GGUF file", "take the weights from before they were quantized"),
    (b"\x89HDF", "an HDF5 file of Keras", "look for the repository's PyTorch weights"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it"),
    (b"\x08", "an ONNX graph", "take the weights that it was made from"),
)


def open_tensor_file(path: Path | str) -> TensorFile:
    """The tensors of a safetensors file or a file of `torch.save` (.ckpt, .pt, .pth, .bin), whatever its name is.

    Only tables are read here, and checked against the file: each tensor is read when it is asked for. No code in a
    pickle is run, and nothing is imported; see `TensorFile.table` for what was left out. Raises MezzotintError, one
    sentence with the path, for every file that is not such a one, is cut off or damaged, or holds no tensors.
    """
    path = Path(path)
    if sentence := stand_in_fault(path):
        raise MezzotintError(sentence)
    try:
        content = _mapped(path)
    except OSError as error:
        raise MezzotintError(f"{path} cannot be read ({error.strerror}); check that it is a file") from None
    try:
        return TensorFile(path, content, _reader(content)(content))
    except FaultError as fault:
        content.close()
        raise MezzotintError(f"{path} {fault.what}; {fault.advice}") from None


def _mapped(path: Path) -> mmap.mmap:
    """The file in memory, read where it is looked at; what is written there stays in this process."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _reader(content: Content) -> Callable[[Content], Table]:
    if content[LENGTH_BYTES : LENGTH_BYTES + 1] == _TABLE:
        return read_safetensors
    if content[: len(_ZIP)] == _ZIP:
        return read_torch_zip
    if content[:1] == _PICKLE:
        return read_torch_legacy
    if content[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise FaultError("is a tar archive, as PyTorch before 0.2 or a website made it", "unpack it, or save it again")
    for magic, what, advice in _OTHERS:
        if content[: len(magic)] == magic:
            raise FaultError(f"is {what}, expected safetensors or a file of torch.save", advice)
    raise FaultError("is neither a safetensors file nor one of torch.save")
