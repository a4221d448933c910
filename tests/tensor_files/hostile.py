"""Files that mean harm, by name, with the words that the refusal has; None where the tensors are read all the same."""

import io
import struct
import zipfile
from collections.abc import Iterator

from tests.tensor_files.pickles import Raw, called, code, legacy, named, pickled, storage, tensor, zipped

GOOD = {"a": tensor()}
SYSTEM = called("os.system", "touch ran")
NO_TENSORS, DAMAGED = "expected tensors by their names", "is damaged"


def hostile_files() -> dict[str, tuple[bytes, str | None]]:
    """All of them."""
    return {
        **{name: (zipped(data), said) for name, data, said in _pickles()},
        **{
            f"legacy {name}": (legacy(pickled(value), ("0",) if b"storage" in code(value) else ()), said)
            for name, value, said in (*_calls(), *_objects())
        },
        **{name: (content, said) for name, content, said in _archives()},
    }


def _pickles() -> Iterator[tuple[str, bytes, str | None]]:
    for name, data, said in (*_calls(), *_objects()):
        yield name, pickled(data), said
    for name, codes, said in _instructions():
        yield name, b"\x80\x02" + codes, said


def _calls() -> Iterator[tuple[str, object, str | None]]:
    yield "system beside", {**GOOD, "b": SYSTEM}, None
    yield "system alone", SYSTEM, "holds more than tensors (os.system)"
    yield "system as storage", {"a": tensor(of=SYSTEM)}, DAMAGED
    yield "system as shape", {"a": tensor(shape=SYSTEM)}, DAMAGED
    for function in ("builtins.eval", "builtins.exec", "builtins.__import__", "__builtin__.eval", "torch.hub.load"):
        yield function, {**GOOD, "b": called(function, "open('ran', 'w')")}, None
    yield (
        "getattr",
        {**GOOD, "b": Raw(called("builtins.getattr", named("os"), "system").code + code(("x",)) + b"R")},
        None,
    )
    yield "state of system", {**GOOD, "b": Raw(SYSTEM.code + code({"__setstate__": SYSTEM}) + b"b")}, None
    yield "new system", {**GOOD, "b": Raw(named("os.system").code + code(("touch ran",)) + b"\x81")}, None
    yield "instance", {**GOOD, "b": Raw(b"(" + code("touch ran") + b"ios\nsystem\n")}, None
    yield "object", {**GOOD, "b": Raw(b"(" + named("os.system").code + code("touch ran") + b"o")}, None
    yield "call of a text", {**GOOD, "b": Raw(code("os.system") + code(("x",)) + b"R")}, DAMAGED
    yield "call without a tuple", {**GOOD, "b": Raw(named("os.system").code + code("x") + b"R")}, DAMAGED
    yield "types in types", {"a": _types_in_types()}, "holds more than tensors"
    yield "codec", {**GOOD, "b": called("_codecs.encode", "x", "bz2")}, None
    yield "numpy objects", {"a": _numpy("O8", (2,), b"12345678" * 2)}, "numpy's type"
    yield "numpy too short", {"a": _numpy("f4", (1 << 40,), b"1234")}, DAMAGED
    yield "numpy without shape", {"a": _numpy("f4", "x", b"1234")}, DAMAGED
    yield "numpy of many dims", {"a": _numpy("f4", (1,) * 1000, b"1234")}, DAMAGED
    yield "numpy characters", {"a": _numpy("f4", (1,), "\u20ac123")}, "characters that are no bytes"
    yield "numpy scalar", {**GOOD, "b": called("numpy.core.multiarray.scalar", named("os.system"), "x")}, DAMAGED


def _objects() -> Iterator[tuple[str, object, str | None]]:
    for name, shape, strides, offset in (
        ("huge shape", (1 << 40, 3), (3, 1), 0),
        ("huge number", (1 << 1000, 3), (3, 1), 0),
        ("overflow", (1 << 32, 1 << 32), (1, 1), 0),
        ("expanded", (1 << 40,), (0,), 0),
        ("negative shape", (-2, 3), (3, 1), 0),
        ("negative stride", (2, 3), (-3, 1), 3),
        ("negative offset", (2, 3), (3, 1), -1),
        ("offset", (2, 3), (3, 1), 1),
        ("strides", (2, 3), (4, 1), 0),
        ("many dims", (1,) * 1000, (1,) * 1000, 0),
        ("other dims", (2, 3), (3,), 0),
        ("empty but huge", (0, 1 << 62), (1, 1), 0),
        ("empty and large", (1 << 40, 0, 1 << 40), (1, 1, 1), 0),
        ("no numbers", ("2", 3), (3, 1), 0),
        ("truths", (True, 3), (3, 1), 0),
        ("fractions", (2.0, 3), (3, 1), 0),
    ):
        yield name, {"a": tensor(shape, strides, offset)}, DAMAGED
    yield "far stride of one", {"a": tensor((1, 6), (1 << 62, 1))}, None
    for key in ("../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "1", "", "0\0", -5):
        yield f"key {key!r}", {"a": tensor(of=storage(key))}, DAMAGED
    for count in (1 << 62, 1 << 80, -1, 7, 5, True, "6"):
        yield f"count {count!r}", {"a": tensor(of=storage("0", count))}, DAMAGED
    yield (
        "foreign storage",
        {"a": tensor(of=storage(kind="os.FloatStorage"))},
        "has a storage of the type os.FloatStorage",
    )
    yield "quantized", {"a": tensor(of=storage(kind="torch.QInt8Storage"))}, "quantized"
    yield "view", {"a": tensor(of=storage("0", 6, "torch.FloatStorage", ("v", 2, 6)))}, DAMAGED
    yield "persistent text", {"a": Raw(code("0") + b"Q")}, DAMAGED
    yield "one dotted name twice", {"a.b": tensor(), "a": {"b": tensor()}}, "two tensors of one name"
    yield "long name", {"a" * 100_000: tensor()}, "a name of 100000 characters"


def _instructions() -> Iterator[tuple[str, bytes, str | None]]:
    good = code(GOOD)
    for name, codes in {
        "nothing": b".",
        "no end": good,
        "stack": b"0" * 10 + b".",
        "mark": good + b"(.",
        "no mark": good + b"t.",
        "across a mark": good + b"(0" + b"0.",
        "extension 1": b"\x82\x01.",
        "extension 2": b"\x83\x01\x00.",
        "extension 4": b"\x84\x01\x00\x00\x00.",
        "persistent line": b"Pos.system\n.",
        "buffer": b"\x97.",
        "huge text": b"\x8d" + b"\xff" * 8,
        "large text": b"X\xff\xff\xff\x7f",
        "huge bytes": b"\x8e" + b"\xff" * 8,
        "huge array": b"\x96" + b"\xff" * 8,
        "huge number": b"\x8b\xff\xff\xff\x7f",
        "large number": b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096,
        "digits": b"L" + b"9" * 490 + b"L\n.",
        "long line": b"c" + b"a" * 100_000 + b"\nb\n.",
        "no line": b"cos",
        "memo": good + b"r\xff\xff\xff\xff.",
        "unknown memo": b"h\x05.",
        "unknown long memo": b"j\xff\xff\xff\xff.",
        "items of a number": b"K\x01X\x01\x00\x00\x00aK\x02s.",
        "items without value": b"}(X\x01\x00\x00\x00au.",
        "append to a number": b"K\x01K\x02a.",
        "class of numbers": b"K\x01K\x02\x93.",
    }.items():
        yield f"code {name}", codes, DAMAGED
    yield "code frame", b"\x95" + b"\xff" * 8 + good + b".", None
    yield "code deep tuples", b")" + b"\x85" * 200_000 + b".", NO_TENSORS
    yield "code deep lists", b"]" + b"]" * 100_000 + b"a" * 100_000 + b".", NO_TENSORS
    yield "code key", b"}" + b")" + b"\x85" * 100_000 + b"K\x01s.", NO_TENSORS
    yield "code itself", b"}q\x00" + code("state_dict") + b"h\x00s.", "dictionaries in each other"
    yield "code itself by another name", b"}q\x00" + code("a") + b"h\x00s.", "dictionaries in each other"
    yield "code laughs", _laughs("abcdefgh"), "more names than any model"
    yield "code wrapped laughs", _laughs(("state_dict", "model", "module", "model_state_dict")), "more names"
    yield "code a copied list", _many_calls().code + b".", "more than 2000000 instructions"
    yield "code many values", b")" * 2_100_000, "more than 2000000 instructions"


def _archives() -> Iterator[tuple[str, bytes, str | None]]:
    good, floats = pickled(GOOD), struct.pack("<6f", *range(6))
    both = {"data/0": floats, "../../ran": b"x", "/etc/ran": b"x"}
    yield "paths", zipped(good, both), None
    yield "deflated", zipped(good, method=zipfile.ZIP_DEFLATED), None
    yield "lzma", zipped(good, method=zipfile.ZIP_LZMA), "encrypted, or compressed in a way"
    yield "two pickles", zipped(good, {"data/0": floats, "b/data.pkl": good}), "with 2 data.pkl"
    yield "no pickle", zipped(good).replace(b"data.pkl", b"data.pkx"), "with 0 data.pkl"
    yield "script", zipped(good, {"data/0": floats, "constants.pkl": b"x"}), "TorchScript"
    yield "big", zipped(good, {"data/0": floats, "byteorder": b"big"}), "byte order"
    yield "order bomb", zipped(good, {"data/0": floats, "byteorder": b"b" * 99}), DAMAGED
    bomb = zipped(good, {"data/0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    size = bomb.rindex(b"PK\x01\x02") + 24  # that it states to inflate to
    yield "bomb", bomb[:size] + b"\xf0\xff\xff\x7f" + bomb[size + 4 :], "and would be"
    yield "endless bomb", bomb[:size] + bytes(4) + bomb[size + 4 :], DAMAGED
    yield "short bomb", bomb[:size] + struct.pack("<I", 24) + bomb[size + 4 :], DAMAGED
    yield "pickle bomb", zipped(good + bytes(1 << 20), method=zipfile.ZIP_DEFLATED), None
    yield "one name twice", _twice(good), "twice"
    content = zipped(good)
    directory = content.rindex(b"PK\x01\x02")  # of data/0
    end = content.rindex(b"PK\x05\x06")
    for name, at, value in (
        ("other sizes", directory + 20, b"\x01\0\0\0"),
        ("encrypted", directory + 8, b"\x01\0"),
        ("header elsewhere", directory + 42, b"\x05\0\0\0"),
        ("header outside", directory + 42, b"\xf0\xff\xff\x7f"),
        ("long entry name", directory + 28, b"\xff\xff"),
        ("zip64 without", directory + 42, b"\xff\xff\xff\xff"),
        ("many entries", end + 10, b"\xf0\xff"),
        ("large directory", end + 12, b"\xff\xff\xff\x7f"),
        ("directory elsewhere", end + 16, b"\x05\0\0\0"),
        ("directory of zip64", end + 16, b"\xff\xff\xff\xff"),
    ):
        yield f"zip {name}", content[:at] + value + content[at + len(value) :], "archive"
    yield "legacy other count", legacy(good, count=7), DAMAGED
    yield "legacy unknown key", legacy(good, ("1",)), DAMAGED
    yield "legacy key twice", legacy(good, ("0", "0")), DAMAGED
    yield "legacy no keys", legacy(good, ()), DAMAGED
    yield "legacy cut", legacy(good)[:-1], "was cut off"
    yield "legacy big", legacy(good).replace(b"\x88", b"\x89", 1), "big-endian"


def _many_calls() -> Raw:
    """A dictionary out of a list of a thousand pairs, made ten thousand times."""
    pairs = code([("a", 1)] * 1000)
    return Raw(b"](" + pairs + b"q\x00" + (named("collections.OrderedDict").code + b"h\x00\x85R") * 10_000 + b"e")


def _types_in_types() -> Raw:
    function = named("torch._tensor._rebuild_from_type_v2").code
    return Raw(function + (function + b"N") * 10_000 + code(()) + b"\x87" * 10_000 + b"R")


def _numpy(kind: str, shape: object, data: bytes | str) -> Raw:
    dtype = called("numpy.dtype", kind, False, True)
    empty = called("numpy.core.multiarray._reconstruct", named("numpy.ndarray"), (0,), "b")
    encoded = called("_codecs.encode", data if isinstance(data, str) else data.decode("latin1"), "latin1")
    return Raw(empty.code + code((1, shape, dtype, False, encoded)) + b"b")


def _laughs(keys: "tuple[str, ...] | str") -> bytes:
    """Dictionaries that hold the same one under each key, eleven deep."""
    codes = b"}q\x00"
    for depth in range(11):
        codes += b"}(" + b"".join(code(key) + b"h" + bytes([depth]) for key in keys) + b"uq" + bytes([depth + 1])
    return codes + b"."


def _twice(good: bytes) -> bytes:
    file = io.BytesIO(zipped(good))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/data/1", struct.pack("<6f", *range(6)))
    return file.getvalue().replace(b"archive/data/1", b"archive/data/0")
