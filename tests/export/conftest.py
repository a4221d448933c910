"""Exporting without the tracing, which takes most of a minute, and checkpoints in single files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from mezzotint.bundle.manifest import Parity
from mezzotint.export.graphs.to_onnx import to_onnx
from mezzotint.runtime import Bundle
from tests.export.single_files.ldm import State, ldm_clip, ldm_unet, ldm_vae
from tests.export.tracing import tracing


@pytest.fixture
def traced_before(tiny_bundle: Bundle) -> Iterator[None]:
    """`export_checkpoint` takes the graphs of `tiny_bundle` for what tracing gives."""
    with tracing(tiny_bundle):
        yield


@pytest.fixture
def traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """`export_checkpoint` traces, whatever was traced before: for tests of what tracing gives."""
    monkeypatch.setattr("mezzotint.export.export.to_onnx", to_onnx)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`export_checkpoint` takes every graph for right, having asked the module for the values as ever."""
    monkeypatch.setattr("mezzotint.export.export.check_parity", lambda *_: Parity("nothing", None, identical=True))


@pytest.fixture(scope="session")
def tiny_modules(tiny_checkpoint: Path) -> dict[str, Any]:
    """diffusers' modules of `tiny_checkpoint`."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    return {
        "text_encoder": CLIPTextModel.from_pretrained(tiny_checkpoint / "text_encoder", local_files_only=True),
        "unet": UNet2DConditionModel.from_pretrained(tiny_checkpoint / "unet", local_files_only=True),
        "vae": AutoencoderKL.from_pretrained(tiny_checkpoint / "vae", local_files_only=True),
    }


@pytest.fixture(scope="session")
def tiny_state(tiny_modules: dict[str, Any]) -> State:
    """What a single file of `tiny_checkpoint` holds."""
    state = ldm_unet(tiny_modules["unet"]) | ldm_vae(tiny_modules["vae"]) | ldm_clip(tiny_modules["text_encoder"])
    return {name: tensor.contiguous() for name, tensor in state.items()}


@pytest.fixture(scope="session")
def tiny_file(tiny_state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_checkpoint` as one file. Not to be written to."""
    path = tmp_path_factory.mktemp("single") / "tiny.safetensors"
    save_file(tiny_state, path)
    return path
