"""Clients that take their time: with a request's head, with its body, or with anything at all."""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mezzotint.errors import MezzotintError
from mezzotint.serve.server import patience
from mezzotint.serve.server.patience import ImpatientProtocol
from mezzotint.serve.web.answers import refusal_response
from mezzotint.serve.web.body import read_form, read_json
from mezzotint.serve.web.limits import RequestLimits
from mezzotint.serve.web.refusal import refusal_of

LIMITS = RequestLimits(body_s=1.0)
WAIT_S = 20.0
HEAD = b"POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"


async def read(request: Request) -> Response:
    return JSONResponse(await read_json(request, LIMITS))


async def form(request: Request) -> Response:
    return JSONResponse(list(await read_form(request, LIMITS)))


async def slow(_request: Request) -> Response:
    await asyncio.sleep(1.5)  # longer than a head may take
    return JSONResponse("done")


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, MezzotintError)
    return refusal_response(refusal_of(error), request.scope["path"])


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Send parts of a request, with a pause of seconds before each, and read until the server closes."""
    monkeypatch.setattr(ImpatientProtocol, "head_s", 1.0)
    routes = [Route("/json", read, methods=["POST"]), Route("/form", form, methods=["POST"]), Route("/slow", slow)]
    app = Starlette(routes=routes, exception_handlers={MezzotintError: refuse})

    async def talk(port: int, parts: tuple[tuple[float, bytes], ...]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.create_task(reader.read())
        for pause_s, part in parts:
            await asyncio.sleep(pause_s)
            if answer.done():
                break
            writer.write(part)
        try:
            return await asyncio.wait_for(answer, WAIT_S)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def serve(call: Callable[[int], Awaitable[bytes]]) -> bytes:
        config = uvicorn.Config(app, http=ImpatientProtocol, log_config=None, lifespan="off", timeout_keep_alive=1)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            running = asyncio.create_task(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            answer = await call(listener.getsockname()[1])
            server.should_exit = True
            await running
        return answer

    def asked(*parts: tuple[float, bytes]) -> bytes:
        return asyncio.run(serve(lambda port: talk(port, parts)))

    return asked


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_connection_without_a_request_is_closed(ask: Callable[..., bytes]) -> None:
    assert ask() == b""


def test_more_connections_than_there_are_files_for_are_closed_at_once(
    ask: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = HEAD + b"\r\n{}"
    monkeypatch.setattr(patience, "most_connections", lambda: 1)
    assert ask((0.0, once)).count(b"HTTP/1.1 200 ") == 1
    monkeypatch.setattr(patience, "most_connections", lambda: 0)
    assert ask((0.0, once)) == b""


def test_there_is_room_for_connections_and_for_files_besides() -> None:
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 0 < patience.most_connections() < (sys.maxsize if limit == resource.RLIM_INFINITY else limit)


def test_a_head_that_comes_a_byte_at_a_time_is_not_waited_for(ask: Callable[..., bytes]) -> None:
    drops = tuple((0.05, bytes([byte])) for byte in HEAD)  # each of them soon enough, all of them too late
    assert ask(*drops, (0.0, b"\r\n{}")) == b""


@pytest.mark.parametrize(
    "head",
    [HEAD, HEAD.replace(b"application/json", b"multipart/form-data; boundary=x").replace(b"/json", b"/form")],
)
def test_a_body_that_does_not_come_is_refused(ask: Callable[..., bytes], head: bytes) -> None:
    answer = ask((0.0, head + b"\r\n-"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert body_of(answer)["error"]["code"] == "too_slow"


def test_who_waits_for_an_answer_is_waited_for(ask: Callable[..., bytes]) -> None:
    answer = ask((0.0, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert (answer.split(b" ")[1], body_of(answer)) == (b"200", "done")


def test_two_requests_on_one_connection_are_answered(ask: Callable[..., bytes]) -> None:
    once = HEAD + b"\r\n{}"
    assert ask((0.0, once), (0.2, once)).count(b"HTTP/1.1 200 ") == 2
