"""What the handlers of every API have at hand, and how an order becomes a job: checked first, queued then."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.requests import Request

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Settings

from ..jobs.job import Job, Repeat, State, Why
from ..jobs.refusals import HasEnded
from ..jobs.studio import Studio
from ..models.model import Model
from ..models.registry import Registry
from ..orders.order import Order
from .buckets import Buckets
from .keys import Keys
from .limits import RequestLimits
from .refusal import Refusal
from .spans import current_context

_STATUS = {
    Why.REFUSED: (422, "invalid_request"),
    Why.CRASHED: (500, "worker_failed"),
    Why.LOAD: (503, "model_not_loaded"),
    Why.LATE: (504, "too_late"),
    Why.STOPPING: (503, "stopping"),
}


@dataclass(frozen=True, kw_only=True)
class Front:
    """The studio, and what requests are held to."""

    studio: Studio
    keys: Keys
    limits: RequestLimits
    buckets: Buckets
    name: str = "mezzotint"
    preload: tuple[str, ...] = ()
    rescan: Callable[[], Registry]
    started_s: float = field(default_factory=time.time)

    def submit(
        self, owner: str, model: Model, order: Order, *, label: str | None = None, repeat: Repeat | None = None
    ) -> Job:
        """Check an order against the model and the limits, and queue it.

        Raises MezzotintError for what cannot be generated, Refusal (429), QueueFull and Stopping.
        """
        self.check(model, order)
        wait_s = self.buckets.take(owner) if owner else 0.0
        if wait_s > 0.0:
            self.studio.observer.rejected("rate")
            retry = {"Retry-After": str(math.ceil(wait_s))}
            raise Refusal(429, "rate_limit_exceeded", f"too many jobs; try again in {wait_s:.0f} s", headers=retry)
        return self.studio.submit(owner, model.name, order, label=label, repeat=repeat, trace=current_context())

    def check(self, model: Model, order: Order) -> None:
        """Raise MezzotintError for an order beyond the limits, and for what the model could not generate."""
        if len(order.settings) > self.limits.images:
            raise MezzotintError(
                what="the number of images", got=len(order.settings), expected=f"at most {self.limits.images}"
            )
        for one in order.settings:
            self._check_prompts(one)
        self._check_run(model, order.settings[0])
        if order.image is not None and not model.takes_images:
            raise MezzotintError(
                f"{model.name} has no image encoder, so it cannot start from an image; send a prompt alone"
            )
        if order.mask is None and model.is_for_inpainting:
            raise MezzotintError(f"{model.name} was made to inpaint; send an image and a mask")
        model.check(order.settings)

    def _check_prompts(self, settings: Settings) -> None:
        longest = self.limits.prompt_characters
        for name, text in (("prompt", settings.prompt), ("negative_prompt", settings.negative_prompt or "")):
            if len(text) > longest:
                raise MezzotintError(what=f"{name} has {len(text)} characters", expected=f"at most {longest}")

    def _check_run(self, model: Model, settings: Settings) -> None:
        steps = settings.steps
        if steps is not None and not 1 <= steps <= self.limits.steps:
            raise MezzotintError(what="steps", got=steps, expected=f"1 to {self.limits.steps}")
        native = model.geometry.native_side_pixels
        least, most = math.ceil(native * self.limits.least_scale), int(native * self.limits.most_scale)
        for name, side in (("height", settings.height), ("width", settings.width)):
            if side is not None and not least <= side <= most:
                raise MezzotintError(what=name, got=side, expected=f"{least} to {most} pixels with {model.name}")

    async def finished(self, request: Request, job: Job) -> Job:
        """Wait for a job. It is cancelled when the client goes away; 504 names it when it takes too long.

        Raises Refusal where it fails or is cancelled.
        """
        listening = asyncio.create_task(_disconnected(request))
        waiting = asyncio.create_task(job.done.wait())
        try:
            await asyncio.wait({listening, waiting}, timeout=self.limits.wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not job.done.is_set():
                self._leave(job, is_gone=listening.done())
        finally:
            for task in (listening, waiting):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        raise_if_failed(job)
        return job

    def _leave(self, job: Job, *, is_gone: bool) -> None:
        if is_gone:
            with suppress(HasEnded):
                self.studio.cancel(job)
            raise Refusal(499, "client_closed_request", "the client went away, and its job was cancelled")
        told = f"the image took longer than {self.limits.wait_s:g} s; ask for job {job.id} later"
        raise Refusal(504, "too_late", told, headers={"X-Job-Id": job.id, "x-should-retry": "false"})


def raise_if_failed(job: Job) -> None:
    """Raise Refusal for a job that ended without its images."""
    if job.state is State.CANCELLED:
        raise Refusal(409, "cancelled", "the job was cancelled", headers={"x-should-retry": "false"})
    if job.state is State.FAILED and job.why is not None:
        status, code = _STATUS[job.why]
        raise Refusal(status, code, job.reason or "the job failed", headers={"x-should-retry": "false"})


async def _disconnected(request: Request) -> None:
    """Returns when the client is gone; its body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
