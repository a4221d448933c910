"""The programs of docs/embedding.md run as they stand there."""

import asyncio
import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.runtime import Bundle, TextToImage, read_settings

PAGE = Path(__file__).parents[1] / "docs" / "embedding.md"
PROGRAM = re.compile(r"<!-- program: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)
PROMPT = "a flat emoji of a red apple"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the page's programs."""
    found = PROGRAM.findall(PAGE.read_text(encoding="utf-8"))
    assert [name for name, _ in found] == ["generate.py", "server.py", "batch.py"]
    for name, source in found:
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path


def run(programs: Path, *command: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, *map(str, command)]
    environment = {"PYTHONPATH": str(PAGE.parents[1]), "PATH": "", "XDG_CACHE_HOME": str(programs / "cache")}
    return subprocess.run(arguments, cwd=programs, env=environment, capture_output=True, text=True, check=False)


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


def post(app: Any, order: dict[str, object]) -> tuple[int, str, bytes]:
    """What an ASGI application answers to POST /images: status, content type, body."""
    body = json.dumps(order).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    place = {"path": "/images", "raw_path": b"/images", "query_string": b"", "root_path": "", "headers": headers}
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({**scope, **place}, receive, send))
    kind = dict(sent[0]["headers"])[b"content-type"].decode()
    return sent[0]["status"], kind, b"".join(message.get("body", b"") for message in sent[1:])


def test_the_script_generates(programs: Path, tiny_bundle: Bundle) -> None:
    options = ("--steps", 3, "--seed", 7)
    done = run(programs, "generate.py", tiny_bundle.path, PROMPT, "out.png", *options)
    assert done.returncode == 0, done.stderr
    assert "step 3 of 3" in done.stderr
    expected = TextToImage.load(tiny_bundle.path)(PROMPT, steps=3, seed=7).images[0]
    np.testing.assert_array_equal(pixels(programs / "out.png"), np.asarray(expected))
    again = run(programs, "generate.py", tiny_bundle.path, PROMPT, "out.png", *options)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert "Traceback" not in again.stderr


def test_the_batch_generates_every_row_and_goes_on_after_bad_ones(programs: Path, tiny_bundle: Bundle) -> None:
    rows = [("apple", PROMPT, "1"), ("bad", PROMPT, "-1"), ("worse", PROMPT, "one"), ("cat", 'a, "cat"\nface', "2")]
    with (programs / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "prompt", "seed"), *rows])
    done = run(programs, "batch.py", tiny_bundle.path, "table.csv", "out")
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["bad", "worse"]
    assert sorted(path.name for path in (programs / "out").iterdir()) == ["apple.png", "cat.png"]
    assert read_settings(programs / "out" / "cat.png").prompt == 'a, "cat"\nface'
    written = (programs / "out" / "cat.png").stat().st_mtime_ns
    (programs / "out" / "apple.png").unlink()
    assert run(programs, "batch.py", tiny_bundle.path, "table.csv", "out").returncode == 1
    assert (programs / "out" / "apple.png").exists()
    assert (programs / "out" / "cat.png").stat().st_mtime_ns == written


def test_the_service_answers_with_images(programs: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed; the web service of docs/embedding.md was not run")
    monkeypatch.setenv("BUNDLE", str(tiny_bundle.path))
    spec = importlib.util.spec_from_file_location("server", programs / "server.py")
    assert spec is not None and spec.loader is not None
    server: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    status, kind, content = post(server.app, {"prompt": PROMPT, "steps": 2, "seed": 3})
    assert (status, kind) == (200, "image/png")
    (programs / "answer.png").write_bytes(content)
    expected = TextToImage.load(tiny_bundle.path)(PROMPT, steps=2, seed=3).images[0]
    np.testing.assert_array_equal(pixels(programs / "answer.png"), np.asarray(expected))
    status, _, content = post(server.app, {"prompt": PROMPT, "steps": 2, "guidance": 5000})
    assert status == 422
    assert "guidance is 5000" in json.loads(content)["detail"]
    server.DEADLINE_SECONDS = 0.0
    assert post(server.app, {"prompt": PROMPT, "steps": 2})[0] == 503
