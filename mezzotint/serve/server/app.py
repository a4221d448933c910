"""The application: every API's routes behind one gate."""

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from mezzotint import __version__
from mezzotint.errors import MezzotintError

from ..a1111.generation_api import GenerationApi
from ..a1111.lists_api import ListsApi
from ..a1111.options import Options
from ..native.jobs_api import JobsApi
from ..native.service_api import ServiceApi
from ..openai.images_api import ImagesApi
from ..page.page import page_routes
from ..web.answers import refusal_response, send_refusal
from ..web.front import Front
from ..web.gate import Admission, Gate
from ..web.metrics import Metrics
from ..web.operation import Operation, openapi
from ..web.refusal import Refusal, refusal_of
from ..web.request_log import RequestLog
from .health import health_operations

_LOG = logging.getLogger("mezzotint.serve")
_GZIP_FROM_BYTES = 1000


def operations_of(front: Front, metrics: Metrics) -> list[Operation]:
    """All operations of all APIs."""
    options = Options()
    return [
        *JobsApi(front).operations(),
        *ServiceApi(front).operations(),
        *GenerationApi(front, options).operations(),
        *ListsApi(front, options).operations(),
        *ImagesApi(front).operations(),
        *health_operations(front, metrics),
    ]


def make_app(front: Front, metrics: Metrics, admission: Admission) -> ASGIApp:
    """The ASGI application."""
    operations = operations_of(front, metrics)
    document = openapi(operations, "Mezzotint", __version__)

    async def show_document(_request: Request) -> Response:
        return JSONResponse(document)

    app = Starlette(routes=[operation.route() for operation in operations] + page_routes(), exception_handlers=HANDLERS)
    app.add_route("/openapi.json", show_document, methods=["GET"])
    # Event streams are passed through by the middleware.
    return RequestLog(Gate(GZipMiddleware(app, minimum_size=_GZIP_FROM_BYTES), admission, send_refusal))


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, MezzotintError)
    return refusal_response(refusal_of(error), request.scope["path"])


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such path, or not this method."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    refusal = Refusal(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))
    return refusal_response(refusal, request.scope["path"])


async def _fail(request: Request, error: Exception) -> Response:
    """A fault of ours: the log has the traceback, the client one sentence."""
    _LOG.error("fault", exc_info=error, extra={"fields": {"request_id": request.scope["state"].get("request_id")}})
    refusal = Refusal(500, "internal_error", "something went wrong here; the server's log says what")
    return refusal_response(refusal, request.scope["path"])


HANDLERS: dict[type[Exception] | int, Callable[[Request, Exception], Awaitable[Response]]] = {
    MezzotintError: _refuse,
    HTTPException: _http_error,
    Exception: _fail,
}
