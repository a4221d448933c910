"""What probes and monitoring ask: is it alive, would it take a job, and the figures."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..web.front import Front
from ..web.metrics import Metrics
from ..web.operation import Operation

_TAG: Final = "health"
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def health_operations(front: Front, metrics: Metrics) -> list[Operation]:
    """The routes; /metrics is behind the key unless the gate lets it through."""

    async def healthz(_request: Request) -> Response:
        """The loop turns."""
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        """A job would be taken; asleep is ready."""
        studio = front.studio
        reason = "stopping" if studio.is_draining else "a model cannot be loaded" if studio.load_failure else None
        return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.text(), media_type=_METRICS_TYPE)

    return [
        Operation(method="GET", path="/healthz", handler=healthz, summary="Whether the server lives.", tag=_TAG),
        Operation(method="GET", path="/readyz", handler=readyz, summary="Whether it would take a job.", tag=_TAG),
        Operation(
            method="GET", path="/metrics", handler=show_metrics, tag=_TAG, answers="text/plain",
            summary="Figures for Prometheus.",
        ),
    ]  # fmt: skip
