"""A real server on a real socket, in a thread of the test's process."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2

from mezzotint.serve.config.service import ServiceConfig
from mezzotint.serve.server.build import Built, build
from mezzotint.serve.server.run import DrainingServer, listening, make_server
from mezzotint.serve.work.engine_options import EngineChoice
from mezzotint.serve.work.maker import Maker
from mezzotint.serve.work.thread import ThreadWorker
from mezzotint.serve.work.worker import StartsWorker

WAIT_S = 20.0  # for what takes milliseconds on a quiet machine


@dataclass(frozen=True)
class Live:
    """`url` is its address, `client` asks it."""

    url: str
    built: Built
    client: httpx2.Client
    server: DrainingServer
    loop: asyncio.AbstractEventLoop

    def job(self, **fields: Any) -> dict[str, Any]:
        """Submit a job and give its view; the test fails where it is refused."""
        answer = self.client.post("/api/v1/jobs", json={"prompt": "a cat", "seed": 1, **fields})
        assert answer.status_code == 202, answer.text
        view: dict[str, Any] = answer.json()
        return view

    def view(self, job: str) -> dict[str, Any]:
        """A job now."""
        answer = self.client.get(f"/api/v1/jobs/{job}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    def until(self, job: str, *states: str) -> dict[str, Any]:
        """A job once it is in one of these states."""
        view: dict[str, Any] = wait_until(lambda: self.view(job), lambda view: view["status"] in states)
        return view

    def done(self, job: str) -> dict[str, Any]:
        """A job once it is over, which it has to be well."""
        view = self.until(job, "done", "failed", "cancelled")
        assert view["status"] == "done", view
        return view

    def image(self, job: str, name: str = "0.png") -> bytes:
        """A file of a job that is done."""
        answer = self.client.get(f"/api/v1/jobs/{job}/images/{name}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def in_loop(self, call: Callable[[], Any]) -> Any:
        """Call something in the server's own thread."""

        async def called() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(WAIT_S)


def wait_until(look: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """What `look` gives once it is so; the test fails where it never is."""
    deadline_s = time.monotonic() + WAIT_S
    while not is_so(seen := look()):
        assert time.monotonic() < deadline_s, f"it never came to this: {seen}"
        time.sleep(0.01)
    return seen


@contextmanager
def live(
    bundles: Path,
    make: Callable[[], Maker] | None = None,
    *,
    start_worker: StartsWorker | None = None,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> Iterator[Live]:
    """A server of the bundles with a maker in a thread, or with processes; ended when the body is."""
    config = replace(ServiceConfig(bundles=(str(bundles),), port=0, grace_s=0.5), **settings)
    starts = start_worker or (None if make is None else lambda _bundle, _profile: ThreadWorker(make))
    built = build(config, start_worker=starts)
    sockets = listening(built)
    server = make_server(built)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.live(sockets),), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    client = httpx2.Client(base_url=url, headers=headers, timeout=WAIT_S, verify=False)  # certificates take 50 ms
    wait_until(lambda: server.started, bool)
    try:
        yield Live(url, built, client, server, loop)
    finally:
        client.close()
        loop.call_soon_threadsafe(server.drain)
        thread.join(WAIT_S)
        assert not thread.is_alive()
        loop.close()
        for one in sockets:
            one.close()


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any, int | None]]:
    """Name, data and number of server-sent events, as they come."""
    name, number = "message", None
    for line in lines:
        kind, _, text = line.partition(": ")
        if kind == "event":
            name = text
        elif kind == "id":
            number = int(text)
        elif kind == "data":
            yield name, json.loads(text), number
            name, number = "message", None


ENGINE = EngineChoice(backend="onnxruntime", threads=1)
