"""Damage to files: bits that flip, parts that are lost, repeated, exchanged or overwritten, counts that are huge."""

import random
import struct
from collections.abc import Callable

_HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
_WORDS = (
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"R", b"b", b"Q", b"\x82\x01", b"\x84\xff\xff\xff\x7f", b"(" * 50, b"t" * 9,
    b"../../../../etc/passwd", b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f", b"r\xff\xff\xff\xff", b"PK\x01\x02", b"0",
    b"PK\x05\x06", b"\x81", b"\x85" * 1000, b"}", b"]" * 1000, b"Pa\n", b'"shape":[9999999999999]', b"-1", b'{"', b".",
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """`content` with one to six kinds of damage, most of it where tables and pickles are."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if damaged:
            rng.choice(_DAMAGES)(damaged, rng)
    return bytes(damaged)


def _place(content: bytearray, rng: random.Random) -> int:
    """A byte: anywhere, near the beginning, near the end, or near a word of the formats."""
    word = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"_rebuild", b"storage", b"data_offsets", b"shape", b"\x8a\x0al"))
    near = content.find(word, rng.randrange(len(content)))
    places = [rng.randrange(len(content)), rng.randrange(min(len(content), 200)), len(content) - 1 - rng.randrange(100)]
    if near >= 0:
        places += [near + rng.randrange(60)] * 3
    return min(max(rng.choice(places), 0), len(content) - 1)


def _flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 8))):
        content[_place(content, rng)] ^= 1 << rng.randrange(8)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[_place(content, rng) :]


def _lose(content: bytearray, rng: random.Random) -> None:
    at = _place(content, rng)
    del content[at : at + rng.choice((1, 2, 8, 100))]


def _repeat(content: bytearray, rng: random.Random) -> None:
    at, size = _place(content, rng), rng.choice((1, 4, 50, 1000))
    content[at:at] = content[at : at + size] * rng.choice((1, 2, 20))


def _exchange(content: bytearray, rng: random.Random) -> None:
    one, other, size = _place(content, rng), _place(content, rng), rng.choice((1, 8, 64))
    first, second = bytes(content[one : one + size]), bytes(content[other : other + size])
    content[one : one + len(second)] = second
    content[other : other + len(first)] = first


def _write_number(content: bytearray, rng: random.Random) -> None:
    at = _place(content, rng)
    number = struct.pack("<Q", rng.choice(_HUGE))[: rng.choice((1, 2, 4, 8))]
    content[at : at + len(number)] = number


def _write_word(content: bytearray, rng: random.Random) -> None:
    at, word = _place(content, rng), rng.choice(_WORDS)
    content[at : at + rng.choice((0, len(word)))] = word


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _flip, _cut, _lose, _repeat, _exchange, _write_number, _write_number, _write_word, _write_word,
)  # fmt: skip
