"""Refusals in the words of the API that was asked: OpenAI's, AUTOMATIC1111's, or our own."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from .refusal import Refusal

_OPENAI_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def refusal_response(refusal: Refusal, path: str) -> Response:
    """The answer to a request for `path`."""
    headers = dict(refusal.headers)
    if path.startswith("/v1/"):
        status = 400 if refusal.status == 422 else refusal.status
        return JSONResponse({"error": openai_error(refusal)}, status, headers)
    if path.startswith("/sdapi/"):
        body = {"error": refusal.code, "detail": refusal.sentence, "body": "", "errors": refusal.sentence}
        return JSONResponse(body, refusal.status, headers)
    error = {"code": refusal.code, "message": refusal.sentence, "param": refusal.param}
    return JSONResponse({"error": error}, refusal.status, headers)


def openai_error(refusal: Refusal) -> dict[str, Any]:
    """What OpenAI's clients read."""
    kind = _OPENAI_TYPES.get(refusal.status, "server_error" if refusal.status >= 500 else "invalid_request_error")
    return {"message": refusal.sentence, "type": kind, "param": refusal.param, "code": refusal.code}


async def send_refusal(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """The same, for what stands before the application."""
    await refusal_response(refusal, scope["path"])(scope, receive, send)


def owner_of(request: Request) -> str:
    """The name of the key that a request came with; "" without keys."""
    owner: str = request.scope["state"]["owner"]
    return owner
