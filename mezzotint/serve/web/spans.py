"""OpenTelemetry spans of requests and jobs: no-ops until a program installs the SDK and an exporter."""

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind, Status, StatusCode

from ..jobs.job import Job, State

_NANOSECONDS = 1_000_000_000


def _tracer() -> trace.Tracer:
    """Asked for each time: the program may install its provider after this was imported."""
    return trace.get_tracer("mezzotint.serve")


def request_context(headers: Mapping[str, str]) -> Any:
    """The context that a request's `traceparent` names."""
    return extract(dict(headers))


def current_context() -> Any:
    """Of whoever asks now."""
    return context.get_current()


def start_request(method: str, path: str, parent: Any) -> trace.Span:
    """A span of a request; end it."""
    return _tracer().start_span(f"{method} {path}", context=parent, kind=SpanKind.SERVER)


def record_job(job: Job, clock_s: float) -> None:
    """Spans of a job that has ended: the job, its time in the queue, and each component one after the other.

    `clock_s` is the time now on the job's own clock.
    """
    if job.ended_s is None:
        return
    offset_s = time.time() - clock_s
    start_s = job.started_s if job.started_s is not None else job.ended_s
    span = _tracer().start_span(
        "job",
        context=job.trace,
        start_time=_at(job.queued_s + offset_s),
        attributes={"mezzotint.job": job.id, "mezzotint.model": job.model, "mezzotint.kind": str(job.order.kind)},
    )
    inside = trace.set_span_in_context(span)
    _part("queue", inside, job.queued_s + offset_s, start_s + offset_s)
    at_s = start_s + offset_s
    for name, milliseconds in job.milliseconds.items():
        _part(name, inside, at_s, at_s + milliseconds / 1e3)
        at_s += milliseconds / 1e3
    if job.state is State.FAILED:
        span.set_status(Status(StatusCode.ERROR, job.reason or ""))
    span.end(_at(job.ended_s + offset_s))


def _part(name: str, inside: Any, start_s: float, end_s: float) -> None:
    _tracer().start_span(name, context=inside, start_time=_at(start_s)).end(_at(end_s))


def _at(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)
