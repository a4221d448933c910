"""txt2img, img2img, and what goes with a running job: progress, interrupt, skip."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mezzotint.runtime.images.files import encode_image, open_image

from ..fields.bounds import bounded
from ..fields.read import read_fields
from ..jobs.job import Job
from ..web.answers import owner_of
from ..web.body import read_json
from ..web.front import Front
from ..web.operation import Operation
from ..work.messages import End
from .answers import generated, progress
from .generation_request import GenerationRequest
from .options import Options
from .orders import order_of

TAG: Final = "AUTOMATIC1111"
_NOT_FOUND: Final = {404: "Sampler not found, Init image not found, or no such model."}


@dataclass(frozen=True, kw_only=True)
class TaskRequest:
    """A job by the client's own name."""

    id_task: str = bounded("", about="What force_task_id said.")
    id_live_preview: int = bounded(-1, about="The preview that the client has.")
    live_preview: bool = bounded(True, about="Whether a preview is wanted.")


@dataclass(frozen=True)
class GenerationApi:
    """The handlers."""

    front: Front
    options: Options

    def operations(self) -> list[Operation]:
        """Every operation."""
        generation: dict[str, Any] = {
            "method": "POST", "tag": TAG, "body": GenerationRequest, "takes_unknown": True, "more": _NOT_FOUND,
        }  # fmt: skip
        post: dict[str, Any] = {"method": "POST", "tag": TAG}
        return [
            Operation(path="/sdapi/v1/txt2img", handler=self.txt2img, summary="Text to image.", **generation),
            Operation(path="/sdapi/v1/img2img", handler=self.img2img, summary="Image to image.", **generation),
            Operation(
                method="GET", path="/sdapi/v1/progress", handler=self.progress, tag=TAG, summary="The running job."
            ),
            Operation(
                path="/sdapi/v1/interrupt", handler=self.interrupt, summary="End the running job early.", **post
            ),
            Operation(path="/sdapi/v1/skip", handler=self.skip, summary="Go on to the next image of it.", **post),
            Operation(
                path="/internal/progress", handler=self.task_progress, summary="One job's progress.", body=TaskRequest,
                takes_unknown=True, **post,
            ),
            Operation(
                method="GET", path="/internal/pending-tasks", handler=self.pending, tag=TAG, summary="Jobs that wait."
            ),
        ]  # fmt: skip

    async def txt2img(self, request: Request) -> Response:
        """Images from text."""
        return await self._generate(request, from_image=False)

    async def img2img(self, request: Request) -> Response:
        """Images from an image, under a mask where there is one."""
        return await self._generate(request, from_image=True)

    async def _generate(self, request: Request, *, from_image: bool) -> Response:
        raw = await read_json(request, self.front.limits)
        given = {name: value for name, value in raw.items() if value is not None} if isinstance(raw, dict) else raw
        asked = read_fields(GenerationRequest, given, ignores_unknown=True)
        owner, studio = owner_of(request), self.front.studio
        wanted = await order_of(
            asked, given, studio.registry, self.front.limits, from_image=from_image, options=self.options.of(owner)
        )
        job = self.front.submit(owner, wanted.model, wanted.order, label=asked.force_task_id)
        await self.front.finished(request, job)
        return JSONResponse(
            generated(job, wanted.model, raw, sends_images=asked.send_images, repeats_images=asked.include_init_images)
        )

    async def progress(self, request: Request) -> Response:
        """Of the running job of this key."""
        owner, studio = owner_of(request), self.front.studio
        job = studio.running(owner)
        wants_image = request.query_params.get("skip_current_image", "false").lower() not in ("true", "1")
        preview = await _as_png(job) if job is not None and wants_image else None
        eta_s = 0.0 if job is None else studio.eta_s(job)
        return JSONResponse(progress(job, eta_s, len(studio.pending(owner)), preview))

    async def interrupt(self, request: Request) -> Response:
        """The request that waits for it answers with what there is; jobs that wait stay."""
        self._end(request, End.KEEP)
        return JSONResponse({})

    async def skip(self, request: Request) -> Response:
        """The same for one of several runs."""
        self._end(request, End.SKIP)
        return JSONResponse(None)

    async def task_progress(self, request: Request) -> Response:
        """One job, by the name that its client gave it."""
        asked = read_fields(TaskRequest, await read_json(request, self.front.limits), ignores_unknown=True)
        studio = self.front.studio
        job = studio.results.find(asked.id_task, owner_of(request))
        data: dict[str, Any] = {"active": False, "queued": False, "completed": job is not None and job.has_ended}
        if job is not None and not job.has_ended:
            place = studio.position(job)
            preview = await _as_png(job) if asked.live_preview else None
            data |= {
                "active": job.is_running,
                "queued": place > 0,
                "progress": job.done_steps / job.steps if job.steps else 0.0,
                "eta": studio.eta_s(job),
                "live_preview": None if preview is None else f"data:image/png;base64,{preview}",
                "id_live_preview": job.done_steps,
                "textinfo": f"In queue: {place}/{len(studio.queue)}" if place else None,
            }
        return JSONResponse(data)

    async def pending(self, request: Request) -> Response:
        """Names of jobs that wait."""
        jobs = self.front.studio.pending(owner_of(request))
        return JSONResponse({"size": len(jobs), "tasks": [job.label or job.id for job in jobs]})

    def _end(self, request: Request, how: End) -> None:
        job = self.front.studio.running(owner_of(request))
        if job is not None:
            self.front.studio.cancel(job, how=how)


async def _as_png(job: Job) -> str | None:
    """A job's preview in base64; clients take it for a PNG."""
    preview = job.preview
    if preview is None:
        return None

    def convert() -> bytes:
        with open_image(preview) as image:
            return encode_image(image.convert("RGB"))

    return base64.b64encode(await asyncio.to_thread(convert)).decode("ascii")
