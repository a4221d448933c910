"""Who is let in: keys in every place that clients put them, hosts, pages of others, and what every answer says."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.serve.config.service import ServiceConfig
from mezzotint.serve.server.build import build
from mezzotint.serve.web.buckets import Buckets
from mezzotint.serve.web.keys import Keys
from tests.serve.fakes import FakeMaker
from tests.serve.live import Live, live

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"# two\nalice:{ALICE}\n\nbob:{BOB}\n")
    return path


@pytest.fixture(scope="module")
def closed(bundles: Path, keys_file: Path) -> Iterator[Live]:
    with live(bundles, FakeMaker, keys_file=str(keys_file), cors_origins=("http://other:5001",)) as server:
        yield server


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def basic(text: bytes) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text).decode()}"}


@pytest.mark.parametrize(
    "headers",
    [
        bearer(ALICE), {"X-API-Key": ALICE}, basic(f"user:{ALICE}".encode()), basic(f"{ALICE}:".encode()),
        {"authorization": f"bearer  {ALICE}"},
    ],
)  # fmt: skip
def test_a_key_is_taken_from_every_place(closed: Live, headers: dict[str, str]) -> None:
    assert closed.client.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, bearer("wrong"), {"Authorization": "Bearer"}, bearer(ALICE + "x"), bearer("alice"),
        {b"X-API-Key": "ключ".encode()}, basic(b"\xff\xfe:\xff"), {"Authorization": "Basic %%%"},
        {"Authorization": "Digest x"}, {"Cookie": "mezzotint_session=x"},
    ],
)  # fmt: skip
def test_anything_else_is_refused_alike(closed: Live, headers: Any) -> None:
    answers = [closed.client.get(path, headers=headers) for path in ("/v1/models", "/v1/models/none")]
    answers.append(closed.client.post("/v1/images/generations", headers=headers, json={"prompt": "a"}))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["error"]["type"] == "authentication_error"


def test_what_needs_no_key(closed: Live) -> None:
    for path in ("/", "/healthz", "/readyz", "/page/main.js"):
        assert closed.client.get(path).status_code == 200
    assert closed.client.get("/metrics").status_code == 401


def test_a_session_is_a_cookie_that_no_script_reads(closed: Live) -> None:
    with httpx2.Client(base_url=closed.url) as page:
        assert page.post("/session", json={"key": "wrong"}).status_code == 401
        answer = page.post("/session", json={"key": BOB})
        assert (answer.status_code, answer.json()["name"]) == (200, "bob")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and BOB not in cookie
        assert page.get("/api/v1/capabilities").status_code == 200


def test_jobs_are_their_keys_alone(closed: Live) -> None:
    job = closed.client.post("/api/v1/jobs", json={"prompt": "a"}, headers=bearer(ALICE)).json()["id"]
    for path in ("", "/images/0.png", "/events", "/preview.webp"):
        assert closed.client.get(f"/api/v1/jobs/{job}{path}", headers=bearer(BOB)).status_code == 404
    assert closed.client.delete(f"/api/v1/jobs/{job}", headers=bearer(BOB)).status_code == 404
    assert closed.client.get("/api/v1/jobs", headers=bearer(BOB)).json()["jobs"] == []
    assert closed.client.get(f"/api/v1/jobs/{job}", headers=bearer(ALICE)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil", "[::2]"]
)
def test_other_hosts_are_refused(fake: Live, host: str) -> None:
    assert fake.client.get("/v1/models", headers={"Host": host}).status_code == 400
    assert fake.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "LOCALHOST:80", "[::1]:7860"])
def test_own_hosts_are_not(fake: Live, host: str) -> None:
    assert fake.client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_pages_of_others_are_refused_unless_they_are_listed(closed: Live) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://other:5001"):
        answer = closed.client.post("/sdapi/v1/interrupt", headers={"Origin": origin, **bearer(ALICE)})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert closed.client.get("/v1/models", headers={"Origin": closed.url, **bearer(ALICE)}).status_code == 200
    listed = closed.client.get("/v1/models", headers={"Origin": "http://other:5001", **bearer(ALICE)})
    assert (listed.status_code, listed.headers["access-control-allow-origin"]) == (200, "http://other:5001")
    assert "access-control-allow-credentials" not in listed.headers
    preflight = closed.client.options("/v1/images/generations", headers={"Origin": "http://other:5001"})
    assert (preflight.status_code, "POST" in preflight.headers["access-control-allow-methods"]) == (204, True)


def test_every_answer_has_the_headers(fake: Live) -> None:
    for path in ("/", "/api/v1/capabilities", "/none", "/v1/models"):
        headers = fake.client.get(path, headers={"X-Request-Id": "my-id.1"}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert (headers["x-request-id"], float(headers["x-process-time"]) >= 0) == ("my-id.1", True)
    assert fake.client.get("/", headers={"X-Request-Id": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def test_beyond_loopback_keys_are_needed(bundles: Path, keys_file: Path) -> None:
    config = ServiceConfig(bundles=(str(bundles),), host="0.0.0.0")
    with pytest.raises(MezzotintError, match="--keys"):
        build(config)
    build(ServiceConfig(bundles=(str(bundles),), host="0.0.0.0", keys_file=str(keys_file)))
    build(ServiceConfig(bundles=(str(bundles),), host="0.0.0.0", no_auth=True))


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", f"a:{ALICE}\na:{BOB}\n", f"a:{ALICE}\nb:{ALICE}\n"])
def test_files_of_keys_that_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(MezzotintError) as caught:
        Keys.read(tmp_path / "keys")
    assert ALICE not in str(caught.value)
    with pytest.raises(MezzotintError):
        Keys.read(tmp_path / "none")


def test_a_bucket_fills_evenly() -> None:
    now = [0.0]
    buckets = Buckets(60, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(60)] == [0.0] * 60
    assert buckets.take("a") == pytest.approx(1.0)
    assert buckets.take("b") == 0.0
    now[0] = 1.0
    assert (buckets.take("a"), buckets.take("a") > 0) == (0.0, True)


def test_a_key_that_asks_too_often_is_told_when_to_come_again(bundles: Path, keys_file: Path) -> None:
    from mezzotint.serve.web.limits import RequestLimits

    limits = RequestLimits(requests_per_minute=2)
    with live(bundles, FakeMaker, keys_file=str(keys_file), limits=limits) as server:
        answers = [server.client.post("/api/v1/jobs", json={"prompt": "a"}, headers=bearer(ALICE)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert int(answers[2].headers["retry-after"]) > 0
