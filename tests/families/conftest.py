"""Stable Diffusion XL's kinds of checkpoint, and the bundles exported from them: made once, when first asked for."""

import importlib
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from mezzotint.bundle.manifest import Component
from mezzotint.export import export_checkpoint
from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.runtime import Bundle
from tests.conftest import MakeOnce
from tests.families.tiny_xl import DiffusersXL, save_tiny_xl

export = importlib.import_module("mezzotint.export.export")


@pytest.fixture(scope="session")
def xl_checkpoint(make_once: MakeOnce, demo_checkpoint: Path) -> Callable[[str], Path]:
    """The folder of a kind. Not to be written to."""
    return lambda kind: (
        make_once(f"xl-{kind}", lambda folder: save_tiny_xl(folder / kind, demo_checkpoint, kind)) / kind
    )


@pytest.fixture(scope="session")
def xl_bundle(make_once: MakeOnce, xl_checkpoint: Callable[[str], Path]) -> Callable[[str], Bundle]:
    """The FP32 bundle of a kind. Not to be written to.

    All kinds have the base's text encoders and VAE, whose graphs are taken from its bundle: tracing is what takes time.
    """
    trace = export.export_component

    def bundle(kind: str) -> Bundle:
        def take(source: GraphSource, staging: Path, *, is_needed: bool) -> Component:
            if kind == "base" or source.name == "unet":
                traced: Component = trace(source, staging, is_needed=is_needed)
                return traced
            base = bundle("base")
            shutil.copytree(base.path / source.name, staging / source.name)
            return base.component(source.name)

        def make(folder: Path) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(export, "export_component", take)
                export_checkpoint(str(xl_checkpoint(kind)), folder)

        return Bundle.open(make_once(f"xl-fp32-{kind}", make))

    return bundle


@pytest.fixture(scope="session")
def xl_oracle(xl_checkpoint: Callable[[str], Path]) -> Callable[[str], DiffusersXL]:
    """diffusers' pipelines on a kind."""
    return cache(lambda kind: DiffusersXL(xl_checkpoint(kind)))
