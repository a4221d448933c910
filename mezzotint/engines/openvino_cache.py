"""OpenVINO's compiled graphs on disk: found by what they were compiled from, and mapped instead of read.

OpenVINO has such a cache of its own. To look a graph up there it reads all weights of the graph, which then lie in
memory beside those of the compiled one; here a look-up hashes the files as they stream by. What it maps must stay
mapped as long as the compiled graph lives, which uses some weights where they lie.
"""

import hashlib
import io
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mezzotint.atomic_file import atomic_path
from mezzotint.cache import usable_folder

from .mapped_files import again_and_again

_TRAILER_BYTES = 8


def compiled_path(
    folder: Path, files: Sequence[Path], shapes: Sequence[Sequence[int]], settings: Mapping[str, Any], version: str
) -> Path:
    """Where the graph of `files`, compiled for `shapes` with `settings` by `version` of OpenVINO, lies or would lie."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    digest.update(json.dumps([list(map(list, shapes)), dict(settings), version], sort_keys=True).encode())
    return folder / f"{digest.hexdigest()[:32]}.blob"


def load_compiled(core: Any, path: Path, settings: Mapping[str, Any]) -> tuple[Any, object] | None:
    """The compiled graph and what it must outlive; None where there is none, or none that this OpenVINO takes."""
    import numpy as np
    import openvino

    size = _complete_size(path)
    if size is None:
        return None
    with path.open("rb") as stream:
        mapping = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY)  # a Tensor wants it writable; nobody writes
    tensor = openvino.Tensor(np.frombuffer(mapping, dtype=np.uint8), shared_memory=True)
    try:
        with again_and_again(partial(_drop, mapping)):  # the kernels pack most weights for themselves
            compiled = core.import_model(tensor, "CPU", dict(settings))
    except RuntimeError:  # of another build, or spoiled: it is compiled again, and replaced
        return None
    with suppress(OSError):
        os.utime(path)  # used now: the oldest go first when the cache is trimmed
    return compiled, (mapping, tensor)


def _drop(mapping: mmap.mmap) -> None:
    """Its resident pages; what is read again comes back from the file, as nobody writes to it."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def store_compiled(compiled: Any, path: Path) -> None:
    """Keep a compiled graph; nothing is kept, and nothing said, where the disk does not take it.

    It is written piece by piece: as bytes it would lie in memory a second time, a gigabyte for SD 1.5 in INT8.
    """
    folder = usable_folder(path.parent)
    if folder is None:
        return
    with suppress(OSError), atomic_path(folder / path.name) as partial, partial.open("wb") as stream:
        compiled.export_model(_PassedOn(stream))
        size = stream.seek(0, os.SEEK_END)
        stream.write(size.to_bytes(_TRAILER_BYTES, "little"))


class _PassedOn(io.BytesIO):
    """OpenVINO exports to a BytesIO alone, and asks it where it is; this one keeps no byte of what it is given."""

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink

    def write(self, data: Any, /) -> int:
        """Into the sink."""
        return self._sink.write(data)

    def tell(self) -> int:
        """Where the sink is."""
        return self._sink.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Of the sink."""
        return self._sink.seek(offset, whence)


def _complete_size(path: Path) -> int | None:
    """Bytes of the graph, which the file's last eight say again; None for a file that is missing or cut short."""
    try:
        size = path.stat().st_size - _TRAILER_BYTES
        with path.open("rb") as stream:
            stream.seek(max(size, 0))
            said = int.from_bytes(stream.read(_TRAILER_BYTES), "little")
    except OSError:
        return None
    return size if 0 < size == said else None
