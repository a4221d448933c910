"""`/v1/images/generations` and `/edits`, with streamed partial images, and `/v1/models`."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..jobs.job import Job
from ..jobs.refusals import HasEnded
from ..models.model import Model
from ..orders.order import Order
from ..web.answers import openai_error, owner_of
from ..web.body import read_body, read_form
from ..web.front import Front, raise_if_failed
from ..web.operation import FORM, Operation
from ..web.refusal import Refusal
from ..web.sse import event_stream, frame
from .form import fields_of, files_of
from .images_request import EditsRequest, GenerationsRequest, order_of

_TAG: Final = "OpenAI"
_NO_MODEL: Final = {404: "There is no such model."}
_PATIENCE_S = 5.0  # between looks whether the client of a stream is there; it is told by what cannot be sent


@dataclass(frozen=True)
class ImagesApi:
    """The handlers. An image that was asked for as a URL has the name of its job, which nobody can guess."""

    front: Front

    def operations(self) -> list[Operation]:
        """Every operation."""
        return [
            Operation(
                method="POST", path="/v1/images/generations", handler=self.generations, tag=_TAG,
                body=GenerationsRequest, takes_unknown=True, more=_NO_MODEL, summary="Text to image.",
            ),
            Operation(
                method="POST", path="/v1/images/edits", handler=self.edits, tag=_TAG, body=EditsRequest, media=FORM,
                more=_NO_MODEL, summary="Image to image, and inpainting with a mask.",
            ),
            Operation(method="GET", path="/v1/models", handler=self.models, tag=_TAG, summary="Models."),
            Operation(
                method="GET", path="/v1/models/{model}", handler=self.model, tag=_TAG, more=_NO_MODEL,
                summary="A model.",
            ),
            Operation(
                method="GET", path="/files/{name}", handler=self.file, tag=_TAG, answers="image/png",
                more={404: "There is no such file."}, summary="An image that was asked for as a URL.",
            ),
        ]  # fmt: skip

    async def generations(self, request: Request) -> Response:
        """Images from text."""
        asked = await read_body(request, GenerationsRequest, self.front.limits, ignores_unknown=True)
        return await self._answer(request, asked, order_of(asked), "image_generation")

    async def edits(self, request: Request) -> Response:
        """Images from an image."""
        form = await read_form(request, self.front.limits)
        try:
            asked = fields_of(form)
            image, mask = await files_of(form, self.front.limits)
        finally:
            await form.close()
        return await self._answer(request, asked, order_of(asked, image=image, mask=mask), "image_edit")

    async def models(self, _request: Request) -> Response:
        """All; clients use it to see whether a key is good."""
        data = [self._listed(model) for model in self.front.studio.registry.models.values()]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """One."""
        return JSONResponse(self._listed(self.front.studio.registry.find(request.path_params["model"])))

    async def file(self, request: Request) -> Response:
        """By the random name that the answer had."""
        name, _, kind = request.path_params["name"].partition(".")
        job_name, _, number = name.rpartition("-")
        job = self.front.studio.results.find(job_name, owner_of(request))
        images = {} if job is None else {f"{index}": image for index, image in enumerate(job.images)}
        if job is None or number not in images or kind != job.order.format:
            raise Refusal(404, "not_found", "there is no such file, or it is gone")
        return Response(images[number].stored.read(), media_type=f"image/{kind}")

    async def _answer(self, request: Request, asked: GenerationsRequest, order: Order, kind: str) -> Response:
        model = self.front.studio.registry.find(asked.model)
        owner = owner_of(request)
        job = self.front.submit(owner, model, order)
        if asked.stream:
            return event_stream(self._frames(job, model, owner, kind))
        await self.front.finished(request, job)
        shown = [self._shown(request, job, index, asked.response_format) for index in range(len(job.images))]
        return JSONResponse(
            {"created": int(time.time()), "data": shown, **_told(job, model), "usage": _usage(job, model)}
        )

    async def _frames(self, job: Job, model: Model, owner: str, kind: str) -> AsyncIterator[str]:
        """Partial images as they come, then the finished ones; a client that goes away cancels the job."""
        sent = 0
        try:
            with self.front.studio.events.subscribed(owner, job.id) as reader:
                while True:
                    for index in range(sent, len(job.partials)):
                        data = {**_event(f"{kind}.partial_image", job.partials[index].read(), job, model)}
                        yield frame({**data, "partial_image_index": index}, name=f"{kind}.partial_image")
                    sent = len(job.partials)
                    if job.has_ended:
                        break
                    with suppress(TimeoutError):
                        if await reader.next(_PATIENCE_S) is None:
                            await asyncio.wait_for(job.done.wait(), self.front.limits.wait_s)
            try:
                raise_if_failed(job)
            except Refusal as refusal:
                yield frame({"error": openai_error(refusal)}, name="error")
                return
            for image in job.images:
                data = _event(f"{kind}.completed", image.stored.read(), job, model)
                yield frame({**data, "usage": _usage(job, model)}, name=f"{kind}.completed")
        finally:
            with suppress(HasEnded):
                self.front.studio.cancel(job)

    def _shown(self, request: Request, job: Job, index: int, how: str | None) -> dict[str, Any]:
        image = job.images[index]
        if how != "url":
            return {"b64_json": base64.b64encode(image.stored.read()).decode("ascii")}
        name = f"{job.id}-{index}.{job.order.format}"
        return {"url": f"{request.url.scheme}://{request.headers['host']}/files/{name}"}

    def _listed(self, model: Model) -> dict[str, Any]:
        return {"id": model.name, "object": "model", "created": int(self.front.started_s), "owned_by": "mezzotint"}


def _told(job: Job, model: Model) -> dict[str, Any]:
    first = job.images[0] if job.images else None
    native = model.geometry.native_side_pixels
    width, height = (native, native) if first is None else (first.width, first.height)
    settings = job.order.settings[0]
    if first is None:
        width, height = settings.width or native, settings.height or native
    return {
        "background": "opaque",
        "output_format": job.order.format,
        "quality": "auto",
        "size": f"{width}x{height}",
    }


def _event(kind: str, content: bytes, job: Job, model: Model) -> dict[str, Any]:
    image = base64.b64encode(content).decode("ascii")
    return {"type": kind, "b64_json": image, "created_at": int(time.time()), **_told(job, model)}


def _usage(job: Job, model: Model) -> dict[str, Any]:
    """Tokens of the prompt; images have none here."""
    prompt = job.order.settings[0].prompt
    text = len(job.images) * max((len(one.tokens(prompt)) for one in model.tokenizers), default=0)
    details = {"text_tokens": text, "image_tokens": 0}
    return {"input_tokens": text, "input_tokens_details": details, "output_tokens": 0, "total_tokens": text}
