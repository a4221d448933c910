"""What tests of the server share: a folder of bundles, and servers on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzotint.runtime import Bundle
from mezzotint.serve.work.bundle_maker import BundleMaker
from tests.serve.fakes import FakeMaker
from tests.serve.live import ENGINE, Live, live


@pytest.fixture(scope="session")
def bundles(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one bundle in it, called tiny."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "tiny").symlink_to(tiny_bundle.path, target_is_directory=True)
    return folder


@pytest.fixture
def maker() -> FakeMaker:
    """The maker of `fake`."""
    return FakeMaker()


@pytest.fixture
def fake(bundles: Path, maker: FakeMaker) -> Iterator[Live]:
    """A server whose images are made by `maker`."""
    with live(bundles, lambda: maker) as server:
        yield server


@pytest.fixture(scope="module")
def tiny_server(bundles: Path) -> Iterator[Live]:
    """A server that generates with the tiny bundle, in a thread."""
    with live(bundles, lambda: BundleMaker(str(bundles / "tiny"), ENGINE)) as server:
        yield server
