"""A hub on this machine that serves one folder as a repository, as far as the hub's own client asks."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

__all__ = ["COMMIT", "FakeHub", "serve"]

COMMIT = "c0ffee" + "0" * 34


@dataclass
class FakeHub:
    """`endpoint` is what HF_ENDPOINT must be; `sent` the files whose contents were asked for."""

    endpoint: str
    sent: list[str] = field(default_factory=list)


@contextmanager
def serve(folder: Path, model: str) -> Iterator[FakeHub]:
    """Serve `folder` as the repository `model`; every other one is not found."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    server.folder, server.model, server.hub = folder, model, hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""

    def _answer(self, *, with_content: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        folder, model = self.server.folder, self.server.model
        file = folder / path.partition(f"/resolve/{COMMIT}/")[2]
        if path.startswith(f"/api/models/{model}"):
            names = [one.relative_to(folder).as_posix() for one in sorted(folder.rglob("*")) if one.is_file()]
            siblings = [{"rfilename": name} for name in names]
            self._send(json.dumps({"id": model, "sha": COMMIT, "siblings": siblings}).encode(), {}, with_content)
        elif path.startswith(f"/{model}/resolve/{COMMIT}/") and file.is_file():
            content = file.read_bytes()
            if with_content:
                self.server.hub.sent.append(file.relative_to(folder).as_posix())
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(content, headers, with_content)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if path.startswith(f"/{model}/") else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str], with_content: bool) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_content:
            self.wfile.write(content)
