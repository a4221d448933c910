"""Bad requests by the hundred: each ends in a 4xx with one sentence, and the next good one works."""

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.runtime.test_encode import png_header
from tests.serve.fakes import FakeMaker, colour, colour_of
from tests.serve.live import Live, live

PATHS = (
    "/api/v1/jobs", "/api/v1/tokens", "/api/v1/settings", "/session", "/sdapi/v1/txt2img", "/sdapi/v1/img2img",
    "/sdapi/v1/png-info", "/sdapi/v1/options", "/internal/progress", "/v1/images/generations",
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "../../etc/passwd", "C:\\windows", "http://127.0.0.1:1/", "file:///etc/passwd", "\ud800", "\x00", "a" * 9000,
    "(((((" * 2000, "[a:b:0.5]", "<lora:x:1>", "%s%n", "'; --", "\u202e",
)  # fmt: skip
OTHERWISE = {"/sdapi/v1/options": {"sd_model_checkpoint": "none"}, "/sdapi/v1/txt2img": {"steps": "many"}}
NO_JSON = (b"{", b"[" * 50_000, b'{"prompt":', b"\xff\xfe", b"nul", b'{"a":NaN}', b'"\\ud800"', b"1" * 6000, b"{}}")
NUMBERS: tuple[Any, ...] = (-1, 0, 2**63, 2**64, 2**200, -(2**64), 1e308, -0.5, 0.5, True, None, "7", [], {}, [[]])


def text_bomb() -> bytes:
    """A PNG of one pixel with a compressed text of many megabytes."""
    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, format="PNG")
    png = content.getvalue()
    data = b"parameters\x00\x00" + zlib.compress(b"a" * 80_000_000, 9)
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return png[:33] + chunk + png[33:]


def animated() -> bytes:
    content = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in range(3)]
    frames[0].save(content, format="GIF", save_all=True, append_images=frames[1:])
    return content.getvalue()


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(content, format="JPEG")
    return content.getvalue()


IMAGES = tuple(
    base64.b64encode(content).decode()
    for content in (
        png_header(50_000, 50_000), png_header(16_000, 16_000), png_header(4097, 4097), png_header(1, 1), text_bomb(),
        animated(),
        jpeg()[:-40], jpeg()[:60], b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBP", b"<svg/>", b"%PDF-1.4",
    )
)  # fmt: skip


def bodies(rng: random.Random, path: str) -> Iterator[bytes]:
    """Ever new bodies that no route can take."""
    while True:
        kind = rng.randrange(6)
        if kind == 0:
            yield rng.choice(NO_JSON)
        elif kind == 1:
            yield json.dumps(rng.choice([[], 3, "text", True, [{}], ["a"] * 9])).encode()
        else:
            yield json.dumps({"prompt": "a", **odd_fields(rng, kind), **OTHERWISE.get(path, {})}).encode()


def odd_fields(rng: random.Random, kind: int) -> dict[str, Any]:
    """What is wrong with an object."""
    if kind == 2:
        return {"prompt": rng.choice(NUMBERS[4:]), "image": 3, "id_task": 3, "key": 3, "seed": []}
    if kind == 3:
        image = rng.choice((*IMAGES, *TEXTS[2:4], "data:image/png;base64,!!", "data:text/html;base64,aGE="))
        return {"image": image, "init_images": [image], "strength": 0.5, "key": 3, "id_task": [], "size": "x"}
    if kind == 4:
        name = rng.choice(
            ("steps", "width", "height", "seed", "guidance", "cfg_scale", "batch_size", "n", "count", "eta")
        )
        odd = {"size": "0x0", "model": rng.choice(TEXTS[:4]), "sampler_name": "x", "id_task": 1, "image": 1, "key": 1}
        return {"prompt": rng.choice(TEXTS), name: rng.choice(NUMBERS), **odd}
    return {"prompt": {"a": 1}, "override_settings": 3, "image": {}, "key": [], "id_task": {}}


def sentence(answer: Any) -> str:
    data = answer.json()
    error = data.get("error")
    return str(error["message"] if isinstance(error, dict) else data["detail"])


@pytest.fixture(scope="module")
def server(bundles: Any) -> Iterator[Live]:
    with live(bundles, FakeMaker) as server:
        yield server


@pytest.mark.parametrize("count", [400, pytest.param(2000, marks=pytest.mark.slow)])
def test_hundreds_of_bad_requests(server: Live, count: int) -> None:
    rng = random.Random(0)
    statuses: set[int] = set()
    sources = {path: bodies(rng, path) for path in PATHS}
    for index in range(count):
        path = PATHS[index % len(PATHS)]
        body = next(sources[path])
        answer = server.client.post(path, content=body, headers={"Content-Type": "application/json"})
        is_open = (
            path == "/session" and answer.status_code == 200 and b'"key": "x"' in body
        )  # without keys any is taken
        if is_open:
            continue
        assert 400 <= answer.status_code < 500, (path, body[:300], answer.status_code, answer.text[:300])
        told = sentence(answer)
        assert told and "\n" not in told and len(told) < 1000 and "Traceback" not in told, (path, told)
        statuses.add(answer.status_code)
    assert statuses >= {400, 404, 422}
    assert colour_of(server.image(server.done(server.job(seed=77)["id"])["id"])) == colour(77)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x", 415),
    ],
)
def test_other_types_of_bodies(server: Live, headers: dict[str, str], content: bytes, status: int) -> None:
    assert server.client.post("/api/v1/jobs", content=content, headers=headers).status_code == status


def test_a_large_body_is_refused_by_its_length_and_as_it_comes(bundles: Any) -> None:
    from mezzotint.serve.web.limits import RequestLimits

    limits = RequestLimits(json_megabytes=1, form_megabytes=1)
    with live(bundles, FakeMaker, limits=limits) as small:
        body = json.dumps({"prompt": "a" * (2 << 20)}).encode()
        headers = {"Content-Type": "application/json"}
        assert small.client.post("/api/v1/jobs", content=body, headers=headers).status_code == 413
        parts = (body[at : at + 65536] for at in range(0, len(body), 65536))
        assert small.client.post("/api/v1/jobs", content=parts, headers=headers).status_code == 413
        form = {"image": ("a.png", b"x" * (2 << 20), "image/png")}
        assert small.client.post("/v1/images/edits", data={"prompt": "a"}, files=form).status_code == 413
        small.done(small.job()["id"])


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ({}, {}),
        ({"prompt": "a"}, {}),
        ({"prompt": "a", "image": "text"}, {}),
        ({"prompt": "a", "surprise": "1"}, {"image": ("a", b"x")}),
        ({"prompt": "a", "n": "many"}, {"image": ("a", b"x")}),
        ({"prompt": "a"}, {"prompt": ("p", b"x"), "image": ("a", b"x")}),
        ({"prompt": "a"}, {"image": ("../../a.png", b"no image")}),
        ({"prompt": "a", **{f"f{index}": "1" for index in range(80)}}, {"image": ("a", b"x")}),
    ],
)
def test_bad_forms(server: Live, data: dict[str, str], files: Any) -> None:
    answer = server.client.post("/v1/images/edits", data=data, files=files or {"nothing": ("a", b"")})
    assert answer.status_code == 400
    assert sentence(answer)


@pytest.mark.parametrize(
    "path", ["/page/../../../etc/passwd", "/page/%2e%2e/page.py", "/page/page.py", "/files/../x", "/%00", "/page/"]
)
def test_paths_lead_nowhere(server: Live, path: str) -> None:
    assert server.client.get(path).status_code == 404


def test_methods_that_there_are_not(server: Live) -> None:
    assert server.client.put("/api/v1/jobs", content=b"").status_code == 405
    assert server.client.post("/healthz", content=b"").status_code == 405
