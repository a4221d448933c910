"""An operation of an API: its route and its line in the OpenAPI document, from one place."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..fields.schema import schema_of

Handler = Callable[[Request], Awaitable[Response]]

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
_REFUSED: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "A key is needed.",
    408: "The body took too long to come.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "What is asked for cannot be generated; the sentence says why.",
    429: "Too many jobs; Retry-After says when to come again.",
    503: "The server is stopping, or the model cannot be loaded.",
    504: "The image took longer than a request may wait.",
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`body` and `query` are dataclasses that are read strictly, or with `takes_unknown` leniently."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    body: type | None = None
    media: str = JSON
    query: type | None = None
    takes_unknown: bool = False
    success: int = 200
    answers: str = JSON
    more: Mapping[int, str] = field(default_factory=dict)  # further statuses

    def route(self) -> Route:
        """For Starlette."""
        return Route(self.path, self.handler, methods=[self.method])

    def document(self) -> dict[str, Any]:
        """For OpenAPI."""
        answers: dict[int, str] = {self.success: "Done.", **_REFUSED, **self.more}
        said: dict[str, Any] = {
            "summary": self.summary,
            "tags": [self.tag],
            "operationId": f"{self.method.lower()}{self.path.translate(_NAME)}",
            "parameters": [*self._path_parameters(), *self._query_parameters()],
            "responses": {str(status): {"description": text} for status, text in answers.items()},
        }
        said["responses"][str(self.success)]["content"] = {self.answers: {}}
        if self.body is not None:
            schema = schema_of(self.body, takes_unknown=self.takes_unknown)
            said["requestBody"] = {"required": True, "content": {self.media: {"schema": schema}}}
        return said

    def _path_parameters(self) -> list[dict[str, Any]]:
        names = [part.strip("{}").partition(":")[0] for part in self.path.split("/") if part.startswith("{")]
        return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]

    def _query_parameters(self) -> list[dict[str, Any]]:
        if self.query is None:
            return []
        properties = schema_of(self.query)["properties"]
        return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


_NAME = str.maketrans("/{}:.-", "______")


def openapi(operations: Sequence[Operation], title: str, version: str) -> dict[str, Any]:
    """The document of all operations, OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.document()
    return {"openapi": "3.1.0", "info": {"title": title, "version": version}, "paths": paths}
