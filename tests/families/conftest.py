"""Stable Diffusion XL's kinds of checkpoint, and the bundles exported from them: made once, when first asked for."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from mezzotint.export import export_checkpoint
from mezzotint.runtime import Bundle
from tests.families.tiny_xl import DiffusersXL, save_tiny_xl


@pytest.fixture(scope="session")
def xl_checkpoint(tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Callable[[str], Path]:
    """The folder of a kind. Not to be written to."""
    folder = tmp_path_factory.mktemp("xl")
    return cache(lambda kind: save_tiny_xl(folder / kind, demo_checkpoint, kind))


@pytest.fixture(scope="session")
def xl_bundle(
    tmp_path_factory: pytest.TempPathFactory, xl_checkpoint: Callable[[str], Path]
) -> Callable[[str], Bundle]:
    """The FP32 bundle of a kind. Not to be written to."""
    folder = tmp_path_factory.mktemp("xl-fp32")
    return cache(lambda kind: export_checkpoint(str(xl_checkpoint(kind)), folder / kind))


@pytest.fixture(scope="session")
def xl_oracle(xl_checkpoint: Callable[[str], Path]) -> Callable[[str], DiffusersXL]:
    """diffusers' pipelines on a kind."""
    return cache(lambda kind: DiffusersXL(xl_checkpoint(kind)))
