"""Bodies of requests: read up to a limit, as JSON that is nothing but JSON, or as a form."""

import asyncio
import json
from tempfile import gettempdir
from typing import Any, NoReturn, TypeVar

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from ..fields.read import read_fields
from .limits import RequestLimits
from .refusal import Refusal

T = TypeVar("T")

_MOST_FILES = 17
_MOST_FIELDS = 60
_LONGEST_FIELD_BYTES = 1 << 20
_ROOM_S = 60  # until a full disk may have room again


async def read_body(request: Request, kind: type[T], limits: RequestLimits, *, ignores_unknown: bool = False) -> T:
    """The JSON body as a dataclass. Raises Refusal (400, 413, 415) and MezzotintError as `read_fields` does."""
    return read_fields(kind, await read_json(request, limits), ignores_unknown=ignores_unknown)


async def read_json(request: Request, limits: RequestLimits) -> Any:
    """The JSON body; one of no bytes is an empty object."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refusal(415, "unsupported_media_type", f"the body is {kind:.60}, expected application/json")
    try:
        async with asyncio.timeout(limits.body_s):
            content = await _content(request, limits.json_megabytes << 20)
    except TimeoutError:
        _too_slow(limits)
    if not content.strip():
        return {}
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else f"{error!s:.200}"
        raise Refusal(400, "invalid_json", f"the body is no JSON: {reason}") from None
    if b"\\ud" in content.lower():
        _refuse_lone_surrogates(data)
    return data


async def read_form(request: Request, limits: RequestLimits) -> FormData:
    """The multipart body; files beyond 1 MiB lie on disk. Raises Refusal (400, 413, 415)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(
            415, "unsupported_media_type", f"the body is {kind or 'nothing':.60}, expected multipart/form-data"
        )
    most_bytes = limits.form_megabytes << 20
    _check_length(request, most_bytes)
    limited = Request(request.scope, _Counted(request, most_bytes).receive)
    try:
        async with asyncio.timeout(limits.body_s):
            return await limited.form(
                max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD_BYTES
            )
    except Refusal:
        raise
    except TimeoutError:
        _too_slow(limits)
    except OSError as error:
        told = f"the form's files cannot be stored in {gettempdir()} ({error.strerror})"
        raise Refusal(503, "no_room", told, headers={"Retry-After": str(_ROOM_S)}) from None
    except (MultiPartException, ValueError, KeyError, UnicodeError, AssertionError) as error:
        raise Refusal(400, "invalid_form", f"the form cannot be read: {error!s:.200}") from None
    except Exception as error:
        if hasattr(error, "status_code"):  # Starlette's own, where an application is around
            raise Refusal(
                400, "invalid_form", f"the form cannot be read: {getattr(error, 'detail', '')!s:.200}"
            ) from None
        raise


class _Counted:
    """A request's body as it comes in, up to a limit."""

    def __init__(self, request: Request, most_bytes: int) -> None:
        self._request = request
        self._left_bytes = most_bytes
        self._most_bytes = most_bytes

    async def receive(self) -> Any:
        message = await self._request.receive()
        self._left_bytes -= len(message.get("body", b""))
        if self._left_bytes < 0:
            _too_large(self._most_bytes)
        return message


async def _content(request: Request, most_bytes: int) -> bytes:
    _check_length(request, most_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            _too_large(most_bytes)
        parts.append(part)
    return b"".join(parts)


def _check_length(request: Request, most_bytes: int) -> None:
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Refusal(415, "unsupported_media_type", f"the body is encoded as {coding:.40}; send it as it is")
    stated = request.headers.get("content-length", "0")
    if not (stated.isascii() and stated.isdigit()):
        raise Refusal(400, "invalid_request", f"content-length is {stated!r:.40}, expected a number")
    if int(stated[:20]) > most_bytes:
        _too_large(most_bytes)


def _too_large(most_bytes: int) -> NoReturn:
    raise Refusal(413, "too_large", f"the body is larger than {most_bytes >> 20} MiB; send less")


def _too_slow(limits: RequestLimits) -> NoReturn:
    raise Refusal(408, "too_slow", f"the body took longer than {limits.body_s:g} s to come") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _refuse_lone_surrogates(data: Any) -> None:
    """Half of a character that UTF-16 writes as two: no text, and no file could hold it."""
    try:
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(
            400, "invalid_json", "the body has half a character (a lone surrogate); send whole ones"
        ) from None
