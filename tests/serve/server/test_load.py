"""Many clients at once, workers that are killed, and memory that comes back."""

import base64
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from mezzotint.serve.jobs.limits import QueueLimits
from mezzotint.serve.work.process import ProcessWorker
from mezzotint.serve.work.resident import resident_bytes
from tests.serve.fakes import FakeMaker, colour, colour_of
from tests.serve.live import ENGINE, WAIT_S, Live, live, wait_until

CLIENTS, ROOM = 64, 64
KILLS = 20


def at_once(
    server: Live, count: int, release: Callable[[int], None] = lambda _answered: None
) -> dict[int, httpx2.Response]:
    """So many synchronous requests at the same time, by their seeds; `release` hears how many were answered."""
    answers: dict[int, httpx2.Response] = {}
    ready = threading.Barrier(count)

    def ask(seed: int) -> None:
        with httpx2.Client(base_url=server.url, timeout=WAIT_S * 3, verify=False) as client:
            ready.wait()
            body = {"prompt": "a", "extra": 1, "seed": seed, "num_inference_steps": 2}
            answers[seed] = client.post("/v1/images/generations", json=body)
        release(len(answers))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(1000, 1000 + count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def check(answers: dict[int, httpx2.Response], served: int) -> None:
    """Each of those that were served has its own image; the others are told when to come again."""
    good = {seed: answer for seed, answer in answers.items() if answer.status_code == 200}
    refused = [answer for answer in answers.values() if answer.status_code != 200]
    assert len(good) == served
    for seed, answer in good.items():
        assert colour_of(base64.b64decode(answer.json()["data"][0]["b64_json"])) == colour(seed)
    for answer in refused:
        assert (answer.status_code, 1 <= int(answer.headers["retry-after"]) <= 120) == (429, True)


def test_as_many_clients_as_the_queue_has_room_for_are_all_served(bundles: Path) -> None:
    maker = FakeMaker(step_s=0.001)
    with live(bundles, lambda: maker, queue=QueueLimits(pending=ROOM)) as server:
        check(at_once(server, CLIENTS), CLIENTS)


def test_those_beyond_are_refused_and_none_is_lost(bundles: Path) -> None:
    maker = FakeMaker(hold=True)
    with live(bundles, lambda: maker, queue=QueueLimits(pending=8)) as server:
        check(at_once(server, 32, lambda answered: maker.go.set() if answered == 32 - 8 else None), 8)


@pytest.fixture
def processes(bundles: Path) -> Iterator[Live]:
    with live(bundles, start_worker=lambda bundle, profile: ProcessWorker(bundle, ENGINE, profile)) as server:
        yield server


def pid_of(server: Live) -> int:
    pids = wait_until(lambda: [slot.worker.pid for slot in server.built.studio.slots if slot.is_loaded], bool)
    return int(pids[0])


@pytest.mark.slow
def test_a_worker_that_is_killed_time_and_again_costs_one_job_each(processes: Live) -> None:
    for _ in range(KILLS):
        job = processes.job(steps=150, count=16)["id"]
        wait_until(lambda job=job: processes.view(job)["progress"]["step"], bool)  # type: ignore[misc]
        os.kill(pid_of(processes), signal.SIGKILL)
        view = processes.until(job, "failed", "done")
        assert (view["status"], view["code"], "SIGKILL" in view["reason"]) == ("failed", "crashed", True)
        processes.done(processes.job(steps=1)["id"])


@pytest.mark.slow
def test_memory_comes_back_when_a_model_is_unloaded(processes: Live) -> None:
    def total() -> int:
        workers = [slot.worker.pid for slot in processes.built.studio.slots]
        return resident_bytes() + sum(resident_bytes(pid) for pid in workers if pid)

    processes.done(processes.job(steps=1)["id"])
    processes.client.post("/api/v1/models/tiny/unload")
    wait_until(lambda: list(processes.built.studio.slots), lambda slots: slots == [])
    before = total()
    processes.done(processes.job(steps=2)["id"])
    loaded = total()
    processes.client.post("/api/v1/models/tiny/unload")
    wait_until(lambda: list(processes.built.studio.slots), lambda slots: slots == [])
    assert loaded > before + 30_000_000
    assert total() <= 1.1 * before
