"""The gate before every API: whose request it is, from which host and page it comes, and headers for every answer.

A page of anybody's can make a browser ask a server on loopback. So the Host has to be one of ours, or the browser was
told a wrong address for a name (DNS rebinding); and an Origin, where there is one, has to be our own or a listed one.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import Keys
from .refusal import Refusal

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PROBED = ("/healthz", "/readyz")  # by orchestrators, at whatever address the container has; they tell nothing
_OPEN_PATHS = ("/", *_PROBED, "/session", "/favicon.ico")
_CORS_METHODS, _CORS_HEADERS = (
    "GET, POST, DELETE",
    "Authorization, Content-Type, X-API-Key, Idempotency-Key, Last-Event-ID",
)


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Who is let in: `hosts` by name without a port, "*" for any; `origins` besides our own, as browsers say them."""

    keys: Keys
    hosts: tuple[str, ...] = LOOPBACK
    origins: tuple[str, ...] = ()
    open_paths: tuple[str, ...] = ()
    rejected: Callable[[str], None] = field(default=lambda _reason: None)


Answer = Callable[[Refusal, Scope, Receive, Send], Awaitable[None]]
"""Sends a refusal in the words of the API that was asked."""


class Gate:
    """ASGI around an application; the owner's name is `scope["state"]["owner"]` behind it."""

    def __init__(self, app: ASGIApp, admission: Admission, answer: Answer) -> None:
        self.app = app
        self.admission = admission
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_listed = origin in self.admission.origins

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    added.setdefault(name, value)
                if is_listed and origin is not None:
                    added["Access-Control-Allow-Origin"] = origin
                    added["Cross-Origin-Resource-Policy"] = "cross-origin"
                    added.add_vary_header("Origin")
            await send(message)

        try:
            self._check_host(scope["path"], headers)
            self._check_origin(scope, headers)
            if is_listed and scope["method"] == "OPTIONS":
                await _preflight(with_headers)
                return
            scope.setdefault("state", {})["owner"] = self._owner(scope, headers)
        except Refusal as refusal:
            self.admission.rejected(refusal.code)
            await self.answer(refusal, scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _check_host(self, path: str, headers: Headers) -> None:
        if path in _PROBED:
            return
        hosts = self.admission.hosts
        name = _without_port(headers.get("host", ""))
        if "*" not in hosts and name.lower() not in hosts:
            raise Refusal(400, "unknown_host", f"the host is {name!r:.60}; start with --allowed-host for another name")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        own = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
        if origin is not None and origin not in (own, *self.admission.origins):
            raise Refusal(
                403, "foreign_origin", f"the page at {origin!r:.60} may not ask; start with --cors-origin for it"
            )

    def _owner(self, scope: Scope, headers: Headers) -> str:
        owner = self.admission.keys.owner(headers, cookie_parser(headers.get("cookie", "")))
        if owner is not None:
            return owner
        path = scope["path"]
        if path in (*_OPEN_PATHS, *self.admission.open_paths) or path.startswith("/page/"):
            return ""
        raise Refusal(401, "unauthorized", "a key is needed, and this is none", headers={"WWW-Authenticate": "Bearer"})


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


async def _preflight(send: Send) -> None:
    allowed = [
        (b"access-control-allow-methods", _CORS_METHODS.encode()),
        (b"access-control-allow-headers", _CORS_HEADERS.encode()),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": allowed})
    await send({"type": "http.response.body", "body": b""})
