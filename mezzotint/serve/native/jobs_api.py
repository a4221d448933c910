"""`/api/v1/jobs`: submit, look, cancel, fetch, and follow."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mezzotint.digits import whole_number
from mezzotint.errors import MezzotintError

from ..fields.bounds import bounded
from ..fields.read import read_fields
from ..jobs.events import Event
from ..jobs.job import ENDED, Job, Repeat, State
from ..jobs.refusals import Stopping
from ..web.answers import owner_of
from ..web.body import read_body
from ..web.front import Front
from ..web.operation import Operation
from ..web.refusal import Refusal
from ..web.sse import event_stream, frames_of
from .images import converted, media_of
from .job_request import JobRequest, order_of
from .views import job_view

_TAG: Final = "jobs"
_ENDS: Final = frozenset(str(state) for state in ENDED)
_LONGEST_KEY = 255
_NOT_THERE: Final = {404: "There is no such job.", 410: "Its results are gone."}


@dataclass(frozen=True, kw_only=True)
class JobsQuery:
    """Which jobs to list."""

    status: str | None = bounded(None, choices=tuple(str(state) for state in State), about="Only jobs in this state.")
    limit: int = bounded(100, least=1, most=1000, about="The newest so many.")


@dataclass(frozen=True)
class JobsApi:
    """The handlers."""

    front: Front

    def operations(self) -> list[Operation]:
        """Every operation on jobs."""
        job = "/api/v1/jobs/{job}"
        return [
            Operation(
                method="POST", path="/api/v1/jobs", handler=self.submit, summary="Queue images to generate.",
                tag=_TAG, body=JobRequest, success=202,
                more={404: "There is no such model.", 409: "The idempotency key was used for something else."},
            ),
            Operation(
                method="GET", path="/api/v1/jobs", handler=self.show_all, summary="List jobs, newest last.",
                tag=_TAG, query=JobsQuery,
            ),
            Operation(
                method="GET", path=job, handler=self.show, summary="Show a job.", tag=_TAG, more=_NOT_THERE
            ),
            Operation(
                method="DELETE", path=job, handler=self.cancel, summary="Cancel a job, queued or running.",
                tag=_TAG, success=202, more={**_NOT_THERE, 409: "It is over."},
            ),
            Operation(
                method="GET", path=f"{job}/images/{{name}}", handler=self.image, tag=_TAG, answers="image/png",
                summary="Fetch an image, as 0.png, 0.webp or 0.jpeg.", more={**_NOT_THERE, 409: "It is not done."},
            ),
            Operation(
                method="GET", path=f"{job}/preview.webp", handler=self.preview, tag=_TAG, answers="image/webp",
                summary="Fetch a small image of a running job.", more=_NOT_THERE,
            ),
            Operation(
                method="GET", path=f"{job}/events", handler=self.job_events, tag=_TAG, answers="text/event-stream",
                summary="Follow a job until it ends.", more=_NOT_THERE,
            ),
            Operation(
                method="GET", path="/api/v1/events", handler=self.events, tag=_TAG, answers="text/event-stream",
                summary="Follow all jobs of this key, and all models.",
            ),
        ]  # fmt: skip

    async def submit(self, request: Request) -> Response:
        """202 with the job; with a known Idempotency-Key the job of before."""
        asked = await read_body(request, JobRequest, self.front.limits)
        owner, key = owner_of(request), request.headers.get("idempotency-key")
        repeat = None if key is None else _repeat(key, asked)
        job = self._repeated(owner, repeat)
        if job is None:
            model = self.front.studio.registry.find(asked.model)
            order = await order_of(asked, self.front.limits)
            job = self._repeated(owner, repeat)  # which may have come while images were looked at
            job = job or self.front.submit(owner, model, order, repeat=repeat)
        headers = {"Location": f"/api/v1/jobs/{job.id}"}
        return JSONResponse(job_view(self.front.studio, job), 202, headers)

    async def show_all(self, request: Request) -> Response:
        """The owner's jobs."""
        raw: dict[str, Any] = dict(request.query_params)
        limit = whole_number(raw.get("limit", ""))
        raw |= {} if limit is None else {"limit": limit}
        query = read_fields(JobsQuery, raw)
        studio = self.front.studio
        jobs = [job for job in studio.results.of(owner_of(request)) if query.status in (None, str(job.state))]
        return JSONResponse({"jobs": [job_view(studio, job) for job in jobs[-query.limit :]]})

    async def show(self, request: Request) -> Response:
        """A job."""
        return JSONResponse(job_view(self.front.studio, self._job(request)))

    async def cancel(self, request: Request) -> Response:
        """202; the job ends at once, or at its next step."""
        job = self._job(request)
        self.front.studio.cancel(job)
        return JSONResponse(job_view(self.front.studio, job), 202)

    async def image(self, request: Request) -> Response:
        """An image's file."""
        job = self._job(request)
        number, _, kind = request.path_params["name"].partition(".")
        kind = {"jpg": "jpeg", "": job.order.format}.get(kind, kind)
        if job.state is not State.DONE:
            raise Refusal(409, "not_done", f"the job is {job.state}, so it has no image")
        if not (number.isascii() and number.isdigit()) or int(number[:6]) >= len(job.images):
            raise Refusal(404, "not_found", f"the job has {len(job.images)} images, numbered from 0")
        made = job.images[int(number[:6])]
        content = made.stored.read()
        content = content if kind == job.order.format else await converted(content, kind)
        return Response(content, media_type=media_of(kind), headers={"Cache-Control": "private, max-age=600"})

    async def preview(self, request: Request) -> Response:
        """The newest preview; 404 before the first."""
        job = self._job(request)
        if job.preview is None:
            raise Refusal(404, "not_found", "there is no preview now")
        return Response(job.preview, media_type="image/webp", headers={"Cache-Control": "no-store"})

    async def job_events(self, request: Request) -> Response:
        """What happens to a job, what was before in one event, until it ends."""
        job, after = self._job(request), _last_event(request)
        first = [self._now(job)] if after is None or job.has_ended else []
        return self._stream(owner_of(request), job.id, after, first)

    async def events(self, request: Request) -> Response:
        """What happens to all jobs of the key, until the client goes."""
        return self._stream(owner_of(request), None, _last_event(request), [])

    def _stream(self, owner: str, job: str | None, after: int | None, first: list[Event]) -> Response:
        log = self.front.studio.events
        if self.front.studio.is_draining:
            raise Stopping("the server is stopping and opens no more streams")
        if log.readers(owner) >= self.front.limits.streams:
            told = f"{self.front.limits.streams} streams are open already; close one"
            raise Refusal(429, "rate_limit_exceeded", told, headers={"Retry-After": "1"})
        last = _ENDS if job is not None else frozenset[str]()
        frames: AsyncIterator[str] = frames_of(log, owner, job=job, after=after, first=first, last=last)
        return event_stream(frames)

    def _now(self, job: Job) -> Event:
        """The state of a job as an event of its name."""
        view = job_view(self.front.studio, job)
        return Event(str(job.state), {**view, "position": view["queue_position"]}, job=job.id)

    def _repeated(self, owner: str, repeat: Repeat | None) -> Job | None:
        job = None if repeat is None else self.front.studio.results.repeated(owner, repeat.key)
        if job is not None and job.repeat != repeat:
            raise Refusal(
                409, "idempotency_key_reused", "this idempotency key was used for another request; take a new one"
            )
        return job

    def _job(self, request: Request) -> Job:
        name, owner, results = request.path_params["job"], owner_of(request), self.front.studio.results
        job = results.find(name, owner)
        if job is None and results.was_there(name, owner):
            raise Refusal(410, "gone", "the job's results were kept for a while, and are gone")
        if job is None:
            raise Refusal(404, "not_found", f"there is no job {name!r:.60}")
        return job


def _repeat(key: str, asked: JobRequest) -> Repeat:
    """MezzotintError for a key that tells nothing apart, or is longer than it needs to be: it is kept with its job."""
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise MezzotintError(what=f"Idempotency-Key has {len(key)} characters", expected=f"1 to {_LONGEST_KEY}")
    return Repeat(key, hashlib.sha256(json.dumps(asdict(asked), sort_keys=True).encode()).digest())


def _last_event(request: Request) -> int | None:
    text = request.headers.get("last-event-id")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise MezzotintError(what="Last-Event-ID", got=text, expected="a number")
    return int(text[:18])
