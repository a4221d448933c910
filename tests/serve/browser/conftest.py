"""A browser: Debian's Chromium, driven by Playwright. `make test-browser` sets both up; else the tests are skipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.fakes import FakeMaker
from tests.serve.live import Live, live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright; `make test-browser` installs it")
    if CHROMIUM is None:
        pytest.skip("no Chromium; `apt-get install chromium` brings it")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A profile of its own; a request beyond loopback, a script's error or a refused resource fails the test."""
    with_profile = browser.new_context(viewport={"width": 1280, "height": 900})
    with_profile.set_default_timeout(45_000)
    faults: list[str] = []
    with_profile.on("request", lambda request: None if is_local(request.url) else faults.append(request.url))
    with_profile.on("weberror", lambda error: faults.append(str(error.error)))
    with_profile.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
    yield with_profile
    with_profile.close()
    assert faults == []


def is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:"))


def is_fault(message: Any) -> bool:
    """What the console calls an error; a refused request is one there, and tests refuse some on purpose."""
    return message.type == "error" and "Failed to load resource" not in message.text


@pytest.fixture
def slow_maker() -> FakeMaker:
    """Steps that can be watched."""
    return FakeMaker(step_s=0.05)


@pytest.fixture
def server(bundles: Path, slow_maker: FakeMaker) -> Iterator[Live]:
    """A server for the page."""
    with live(bundles, lambda: slow_maker) as server:
        yield server
