"""What a server adds to an image: the same call made in this process, and over HTTP to a worker's, in turn."""

import asyncio
import http.client
import json
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.runtime import TextToImage

from ..config.service import ServiceConfig
from .build import build
from .run import listening, make_server

_PROMPT = "a red apple on a blue background"
_WARM_UPS = 2
_START_S = 0.01
_TAIL = 0.025


@dataclass(frozen=True)
class Overhead:
    """Milliseconds of each image, made directly and over HTTP, one after the other."""

    direct_ms: tuple[float, ...]
    served_ms: tuple[float, ...]

    @property
    def share(self) -> float:
        """How much longer an image takes over HTTP, as part of what it takes directly; medians of pairs."""
        return statistics.median(self._differences()) / statistics.median(self.direct_ms)

    @property
    def interval(self) -> tuple[float, float] | None:
        """What `share` lies in with at least 95 % confidence; None for fewer pairs than that takes, which are 6.

        The interval of a median by order statistics (David and Nagaraja, Order Statistics, 3rd ed., 7.1): the k-th
        smallest and the k-th largest difference, for the largest k that as many tosses of a coin stay below in at most
        2.5 % of all cases. It assumes nothing about how the differences are distributed.
        """
        differences = sorted(self._differences())
        tail, k = 0.0, 0
        while (tail := tail + math.comb(len(differences), k) / 2 ** len(differences)) <= _TAIL:
            k += 1
        if k == 0:
            return None
        direct_ms = statistics.median(self.direct_ms)
        return differences[k - 1] / direct_ms, differences[-k] / direct_ms

    def lines(self) -> list[str]:
        """For a reader."""
        direct, served = statistics.median(self.direct_ms), statistics.median(self.served_ms)
        known = "" if self.interval is None else ", 95 % interval {:.2%} to {:.2%}".format(*self.interval)
        images = f"{len(self.direct_ms)} images"
        return [f"direct {direct:.1f} ms, served {served:.1f} ms, overhead {self.share:.2%}{known} ({images})"]

    def _differences(self) -> list[float]:
        return [served - direct for direct, served in zip(self.direct_ms, self.served_ms, strict=True)]


def measure_overhead(bundle: Path, *, backend: str, steps: int, rounds: int) -> Overhead:
    """Raises MezzotintError for a bundle that cannot be served, and where the server refuses."""
    config = ServiceConfig(bundles=(str(bundle),), port=0, backend=backend, preload=(bundle.absolute().name,))
    with _serving(config) as ask, TextToImage.load(bundle, backend=backend) as pipe:

        def direct(seed: int) -> None:
            pipe(_PROMPT, steps=steps, seed=seed).encode()

        def served(seed: int) -> None:
            ask({"prompt": _PROMPT, "num_inference_steps": steps, "seed": seed})

        for seed in range(_WARM_UPS):
            direct(seed)
            served(seed)
        direct_ms: list[float] = []
        served_ms: list[float] = []
        for seed in range(rounds):  # each begins every second pair, as what runs first may find the caches colder
            for call, times_ms in ((direct, direct_ms), (served, served_ms))[:: 1 if seed % 2 else -1]:
                times_ms.append(_timed(call, seed))
    return Overhead(tuple(direct_ms), tuple(served_ms))


def _timed(call: Callable[[int], None], seed: int) -> float:
    started = time.perf_counter()
    call(seed)
    return (time.perf_counter() - started) * 1e3


@contextmanager
def _serving(config: ServiceConfig) -> Iterator[Callable[[dict[str, object]], None]]:
    """A server in a thread, with its worker in a process; gives what asks it for an image."""
    built = build(replace(config, idle=replace(config.idle, unload_s=None)))
    sockets = listening(built)
    server = make_server(built)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.live(sockets),))
    thread.start()
    while not server.started:
        time.sleep(_START_S)

    def ask(body: dict[str, object]) -> None:
        with closing(http.client.HTTPConnection(*sockets[0].getsockname()[:2])) as connection:
            connection.request("POST", "/v1/images/generations", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != 200:
            raise MezzotintError(f"the server answered {answer.status}: {content[:200]!r}")

    try:
        yield ask
    finally:
        loop.call_soon_threadsafe(server.drain)
        thread.join()
        loop.close()
        for one in sockets:
            one.close()
