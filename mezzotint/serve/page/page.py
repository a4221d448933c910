"""The page's files: read once from the package, and served by names that stand in no request."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX: Final = "index.html"


def page_routes() -> list[Route]:
    """`/` is the page, `/page/...` what it loads."""
    routes: list[Route] = []
    for entry in sorted(files(__package__).joinpath("assets").iterdir(), key=lambda entry: entry.name):
        kind = next((media for ending, media in _TYPES.items() if entry.name.endswith(ending)), None)
        if kind is not None:
            path = "/" if entry.name == _INDEX else f"/page/{entry.name}"
            routes.append(Route(path, _sending(entry.read_bytes(), kind), methods=["GET"]))
    icon = next(route for route in routes if route.path.endswith("icon.svg"))
    return [*routes, Route("/favicon.ico", icon.endpoint, methods=["GET"])]


def _sending(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """Browsers keep it, and ask each time whether it is still the same."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}

    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return send
