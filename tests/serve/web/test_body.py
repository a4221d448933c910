"""Bodies that cannot be kept."""

import asyncio
import errno
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from starlette.requests import Request

from mezzotint.serve.web.body import read_form
from mezzotint.serve.web.limits import RequestLimits
from mezzotint.serve.web.refusal import Refusal

FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc\r\n--x--\r\n'


def request(body: bytes) -> Request:
    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", str(len(body)).encode())]

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def test_a_form_that_a_full_disk_cannot_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: object, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SpooledTemporaryFile, "write", full)
    with pytest.raises(Refusal, match="No space left") as refused:
        asyncio.run(read_form(request(FORM), RequestLimits()))
    assert (refused.value.status, refused.value.code) == (503, "no_room")
    assert int(refused.value.headers["Retry-After"]) > 0


def test_a_form_that_has_room_is_read() -> None:
    async def content() -> bytes:
        form = await read_form(request(FORM), RequestLimits())
        async with asyncio.timeout(20):
            file: Any = form["image"]
            read: bytes = await file.read()
            await form.close()
        return read

    assert asyncio.run(content()) == b"abc"
