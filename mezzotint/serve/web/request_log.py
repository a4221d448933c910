"""A line of JSON for each request and each job, with an id that goes through all of them. Never a key or a header."""

import json
import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .spans import request_context, start_request

_LOG = logging.getLogger("mezzotint.serve")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/healthz", "/readyz", "/metrics")


class JsonLines(logging.Formatter):
    """Each record as an object on one line; `extra={"fields": {...}}` is part of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class RequestLog:
    """ASGI around everything: gives each request an id, its own where it has a good one, and writes its line."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and log."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started_s, status = time.perf_counter(), 0
        span = start_request(scope["method"], scope["path"], request_context(headers))

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = MutableHeaders(scope=message)
                answered["X-Request-Id"] = request_id
                answered["X-Process-Time"] = f"{time.perf_counter() - started_s:.4f}"
            await send(message)

        try:
            await self.app(scope, receive, with_id)
        finally:
            span.set_attribute("http.response.status_code", status)
            span.end()
            level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
            fields = {
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "seconds": round(time.perf_counter() - started_s, 4),
                "owner": scope.get("state", {}).get("owner", ""),
            }
            _LOG.log(level, "request", extra={"fields": fields})
