"""Pickles and archives put together by hand, as no honest program writes them."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping

MAGIC = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]


class Raw:
    """A piece of a pickle as it is."""

    def __init__(self, code: bytes) -> None:
        self.code = code


def pickled(value: object) -> bytes:
    """`value` with its `Raw` parts, as protocol 2 without a memo."""
    return b"\x80\x02" + code(value) + b"."


def code(value: object) -> bytes:
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, dict):
        return b"}(" + b"".join(code(key) + code(one) for key, one in value.items()) + b"u"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(code, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(code, value)) + b"e"
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    return pickle.dumps(value, 2)[2:-1]


def named(name: str) -> Raw:
    """A class or function."""
    module, _, last = name.rpartition(".")
    return Raw(f"c{module}\n{last}\n".encode())


def called(function: str, *arguments: object) -> Raw:
    return Raw(named(function).code + code(arguments) + b"R")


def storage(key: object = "0", count: object = 6, kind: str = "torch.FloatStorage", *view: object) -> Raw:
    return Raw(code(("storage", named(kind), key, "cpu", count, *view)) + b"Q")


def tensor(shape: object = (2, 3), strides: object = (3, 1), offset: object = 0, of: Raw | None = None) -> Raw:
    """A view of a storage of six floats."""
    hooks = called("collections.OrderedDict")
    return called("torch._utils._rebuild_tensor_v2", of or storage(), offset, shape, strides, False, hooks)


def zipped(data_pkl: bytes, others: Mapping[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive as of `torch.save`, with one storage of six floats unless `others` are given."""
    parts = {"data.pkl": data_pkl, **({"data/0": struct.pack("<6f", *range(6))} if others is None else others)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def legacy(data_pkl: bytes, keys: object = ("0",), count: int = 6) -> bytes:
    """The old layout, with one storage of six floats."""
    return b"".join([*MAGIC, data_pkl, pickled(list(keys)), struct.pack("<q6f", count, *range(6))])  # type: ignore[call-overload]
