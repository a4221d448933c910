"""`mezzotint generate --refiner`: what the refiner's bundle cannot go on with is refused before the base runs."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.runtime import Bundle, TextToImage
from tests.bundle.test_profile import PROFILE
from tests.cli.conftest import Cli
from tests.conftest import MakeOnce
from tests.runtime.shallow_bundle import cached_bundle
from tests.runtime.small_bundle import change_manifest


def test_an_interval_of_a_profile_that_the_refiner_has_no_graph_for(
    cli: Cli, make_once: MakeOnce, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = cached_bundle(make_once, tiny_bundle, "onnxruntime")
    base = shutil.copytree(cached.path, tmp_path / "base")
    fast = replace(PROFILE, settings=replace(cached.defaults(), steps=4, cache_interval=2))
    change_manifest(base, lambda manifest: replace(manifest, profiles={"fast": fast}))
    begun: list[str] = []

    def denoise(*_arguments: Any, **_options: Any) -> None:
        begun.append("a run")

    monkeypatch.setattr(TextToImage, "denoise", denoise)
    run = ("generate", base, "apple", "-o", "out.png", "--profile", "fast", "--backend", "onnxruntime")
    code, _, err = cli(*run, "--refiner", tiny_bundle.path, "--refine-from", 0.5)
    assert code == 2
    assert f"mezzotint: {tiny_bundle.path}: cache_interval is 2" in err
    assert (begun, (tmp_path / "out.png").exists()) == ([], False)
