"""The studio's parts alone: whose turn it is, who makes room, what is kept, how long it takes."""

import asyncio
from dataclasses import replace

import pytest

from mezzotint.runtime import Settings
from mezzotint.serve.jobs.estimates import Estimates
from mezzotint.serve.jobs.events import EventLog
from mezzotint.serve.jobs.job import Job, Repeat, State
from mezzotint.serve.jobs.limits import QueueLimits
from mezzotint.serve.jobs.line import MOST_PASSES, next_job
from mezzotint.serve.jobs.names import JobNames
from mezzotint.serve.jobs.results import Results
from mezzotint.serve.jobs.spool import Spool
from mezzotint.serve.models.memory import Resident, slots_to_end
from mezzotint.serve.orders.order import Kind, Order
from mezzotint.serve.work.messages import Made


def job(model: str = "a", **fields: object) -> Job:
    return Job("", model, Order(settings=(Settings("a cat", **fields),)), 0.0)  # type: ignore[arg-type]


def test_a_job_that_fits_what_is_loaded_may_pass_but_not_for_ever() -> None:
    first, queue = job("b"), [job("a") for _ in range(10)]
    taken = []
    line = [first, *queue]
    while line:
        chosen = next_job(line, lambda one: one.model == "a")
        assert chosen is not None
        line.remove(chosen)
        taken.append(chosen.model)
    assert taken == ["a"] * MOST_PASSES + ["b"] + ["a"] * (10 - MOST_PASSES)
    assert next_job([], lambda _: True) is None
    odd = [job("b"), job("c")]
    assert next_job(odd, lambda _: False) is odd[0]


def test_the_longest_unused_make_room_and_the_busy_never() -> None:
    old, new = Resident(1, 40, 1.0, is_busy=False), Resident(2, 40, 2.0, is_busy=False)
    busy = Resident(3, 40, 0.0, is_busy=True)
    assert slots_to_end(10, None, [old, new, busy]) == []
    assert slots_to_end(10, 130, [old, new, busy]) == []
    assert slots_to_end(30, 130, [new, old, busy]) == [1]
    assert slots_to_end(80, 130, [old, new, busy]) == [1, 2]
    assert slots_to_end(100, 130, [old, new, busy]) is None


def test_jobs_of_one_shape_share_it() -> None:
    first = Order(settings=(Settings("a", height=64, width=64),))
    assert first.shape == Order(settings=(Settings("b", height=64, width=64, seed=4, steps=3),)).shape
    assert first.shape != replace(first, settings=(Settings("a", height=64, width=32),)).shape
    assert first.shape != replace(first, settings=(Settings("a", height=64, width=64, guidance=1.0),)).shape
    assert (first.kind, replace(first, image=b"x").kind) == (Kind.TEXT, Kind.IMAGE)
    assert replace(first, image=b"x", mask=b"y").kind is Kind.INPAINT


def made(size: int) -> Made:
    return Made(content=b"x" * size, width=1, height=1, settings=Settings("a"), parameters="")


@pytest.mark.parametrize("limits", [QueueLimits(result_s=10.0, result_megabytes=1), QueueLimits(result_jobs=2)])
def test_results_go_when_they_are_old_or_too_many(limits: QueueLimits) -> None:
    results = Results(limits)
    jobs = [job() for _ in range(4)]
    for number, one in enumerate(jobs):
        one.id, one.repeat = results.names.new(""), Repeat(f"key {number}", b"asked")
        one.state, one.ended_s, one.images = State.DONE, float(number), (Spool().image(made(400_000)),)
        results.add(one)
        results.ended(one)
    results.add(waiting := job())
    assert not results.was_there(jobs[0].id, "")
    assert results.expire(5.0) == jobs[:2]
    assert list(results.of("")) == [*jobs[2:], waiting]
    assert results.was_there(jobs[0].id, "") and not results.was_there(jobs[0].id, "other")
    assert [results.repeated("", f"key {number}") for number in range(4)] == [None, None, *jobs[2:]]
    assert results.repeated("other", "key 3") is None
    assert results.expire(10_000.0) == jobs[2:]
    assert list(results.of("")) == [waiting]
    assert results.find(waiting.id, "other") is None


def test_a_name_tells_whose_it_is_and_no_other_server_knows_it() -> None:
    names = JobNames()
    name = names.new("x")
    assert names.new("x") != name and len(name) == 32
    assert names.gave(name, "x") and not names.gave(name, "y")
    assert not JobNames().gave(name, "x")
    for odd in ("", name[:-1], name + "0", name.upper() + "g", "\udcff" * 32, "é" * 32):
        assert not names.gave(odd, "x")


def test_estimates_are_learnt_and_scale_with_the_work() -> None:
    estimates = Estimates()
    done = job(steps=10)
    assert estimates.seconds(done, 64 * 64) == 10.0
    done.started_s, done.ended_s, done.steps = 0.0, 4.0, 10
    estimates.learn(done, 64 * 64)
    assert estimates.seconds(job(steps=20), 64 * 64) == pytest.approx(8.0)
    assert estimates.seconds(job(steps=10, height=128, width=64), 64 * 64) == pytest.approx(8.0)
    running = job(steps=10)
    running.started_s, running.steps, running.done_steps = 0.0, 10, 5
    assert estimates.left_s(running, 64 * 64, now_s=3.0) == pytest.approx(3.0)


def test_a_reader_sees_what_concerns_it_and_a_slow_one_is_cut_off() -> None:
    async def read() -> list[str]:
        log = EventLog()
        log.tell("before", {}, owner="x", job="1")
        with log.subscribed("x", "1", after=0) as reader, log.subscribed("x") as slow:
            log.tell("other owner", {}, owner="y", job="2")
            log.tell("other job", {}, owner="x", job="3")
            log.tell("mine", {}, owner="x", job="1")
            log.tell("everybody's", {})
            log.end()
            seen = [event.name async for event in reader]
            for _ in range(2000):
                log.tell("more", {}, owner="x", job="1")
            names = [event.name async for event in slow]
        assert "more" not in names[:3] and log.readers("x") == 0
        return seen

    assert asyncio.run(read()) == ["before", "mine", "everybody's"]


def test_of_a_job_that_is_over_its_end_alone_is_kept_until_it_is_forgotten() -> None:
    async def replayed(log: EventLog, after: int) -> list[tuple[str, int | None]]:
        with log.subscribed("", after=after) as reader:
            log.end()
            return [(event.name, event.number) async for event in reader]

    async def live() -> None:
        log = EventLog()
        log.tell("queued", {}, owner="", job="1")
        log.tell("model", {})
        log.tell("queued", {}, owner="", job="2")
        log.tell("progress", {}, owner="", job="1")
        assert await replayed(log, 1) == [("model", 2), ("queued", 3), ("progress", 4)]
        end = log.tell_end("done", {}, owner="", job="1")
        assert end == 5
        assert await replayed(log, 0) == [("model", 2), ("queued", 3), ("done", 5)]
        log.forget(end)
        assert await replayed(log, 0) == [("model", 2), ("queued", 3)]
        for _ in range(5000):
            log.tell("progress", {}, owner="", job="2")
        assert [number for _, number in await replayed(log, 0)] == list(range(5006 - 511, 5006))
        log.tell_end("done", {}, owner="", job="2")
        assert await replayed(log, 0) == [("done", 5006)]

    asyncio.run(live())
