"""What tests of tuning share: small bundles whose own runs are short."""

from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.bundle.bundle import write_manifest
from mezzotint.runtime import Bundle
from tests.conftest import MakeOnce

STEPS = 5


def with_steps(bundle: Bundle, folder: Path) -> Bundle:
    """A copy of `bundle` in `folder` whose own runs have few steps."""
    for entry in bundle.entries():
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / entry.path).write_bytes((bundle.path / entry.path).read_bytes())
    write_manifest(folder, replace(bundle.manifest, defaults=replace(bundle.defaults(), steps=STEPS)))
    return Bundle.open(folder)


@pytest.fixture(scope="session")
def short(make_once: MakeOnce, tiny_bundle: Bundle) -> Bundle:
    """`tiny_bundle` with few steps. Not to be written to."""
    return Bundle.open(make_once("short-fp32", lambda folder: with_steps(tiny_bundle, folder)))


@pytest.fixture(scope="session")
def short_half(make_once: MakeOnce, tiny_bundle: Bundle) -> Bundle:
    """The same in FP16 weights for ONNX Runtime, whose images are a little different. Not to be written to."""
    from mezzotint.quantize import quantize_bundle

    def make(folder: Path) -> None:
        made = quantize_bundle(tiny_bundle.path, folder / "made", recipe="fp16", target="onnxruntime")
        with_steps(made, folder / "short-fp16")

    return Bundle.open(make_once("short-fp16", make) / "short-fp16")
