"""Results that lie in files without a name: whole, bounded, and gone with the last that needs them."""

import errno
import gc
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from mezzotint.runtime import Settings
from mezzotint.runtime.metadata import parse_settings
from mezzotint.serve.jobs import spool as spool_module
from mezzotint.serve.jobs.spool import Spool, Stored
from mezzotint.serve.orders.order import Kind, Order
from mezzotint.serve.work.messages import Made

_DESCRIPTORS = Path("/proc/self/fd")


def test_what_is_put_is_read_again_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_SEGMENT_BYTES", 1000)
    draw, spool = random.Random(0), Spool()
    contents = [draw.randbytes(draw.choice((0, 1, 400, 3000))) for _ in range(100)]
    stored = [spool.put(content) for content in contents]
    assert [one.size_bytes for one in stored] == [len(content) for content in contents]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(Stored.read, stored * 5)) == contents * 5


@pytest.mark.skipif(not _DESCRIPTORS.exists(), reason="needs /proc")
def test_files_close_with_the_last_result_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_SEGMENT_BYTES", 1000)
    gc.collect()
    before, spool = len(list(_DESCRIPTORS.iterdir())), Spool()
    stored = [spool.put(b"x" * 500) for _ in range(40)]
    assert len(list(_DESCRIPTORS.iterdir())) == before + 20
    del stored[:-1]
    assert len(list(_DESCRIPTORS.iterdir())) == before + 1
    assert stored[0].read() == b"x" * 500


def test_a_full_disk_spoils_nothing_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool()
    first = spool.put(b"first")

    segment = first.segment
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(segment, "_file", _Full(segment._file))
        spool.put(b"second")
    third = spool.put(b"third")
    assert (first.read(), third.read()) == (b"first", b"third")


class _Full:
    """A file that takes half of what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def write(self, content: bytes) -> int:
        self._file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_an_image_was_generated_with_lies_beside_it() -> None:
    settings = Settings("un café ☕", seed=2**64 - 1, guidance_interval=(0.0, 0.8), loras={"style": 0.5})
    image = Spool().image(Made(content=b"file", width=3, height=2, settings=settings, parameters="un café\nSteps: 4"))
    about = image.read_about()
    assert parse_settings({"settings": about.settings}, "here") == settings
    assert (about.parameters, image.stored.read(), image.width, image.height) == ("un café\nSteps: 4", b"file", 3, 2)
    assert sum(part.size_bytes for part in image.parts) > len(b"file")


def test_an_order_that_is_over_keeps_no_files_but_its_kind() -> None:
    order = Order(settings=(Settings("a cat"),), image=b"image", mask=b"mask")
    assert (order.without_files().image, order.without_files().mask) == (b"", b"")
    assert order.without_files().kind is Kind.INPAINT
    assert Order(settings=(Settings("a cat"),)).without_files().kind is Kind.TEXT
