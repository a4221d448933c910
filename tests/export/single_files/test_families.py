"""Files of every kind of checkpoint, small, made with diffusers: what is loaded is what their folders give."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mezzotint.export import Origins, export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint, load_parts
from mezzotint.export.find_parts import find_parts
from mezzotint.export.scheduler import Chosen
from tests.export.published import PUBLISHED, save_published
from tests.export.single_files.ldm import State, ldm_clip, ldm_unet, ldm_vae, open_clip
from tests.export.single_files.test_checkpoint_file import check_same, graphs
from tests.export.tracing import without_parity
from tests.families.tiny_xl import save_tiny_xl

FIRST = "conditioner.embedders.0."
Texts = dict[str, Callable[[Any], State]]
CLIP: Texts = {"text_encoder": ldm_clip}
OPEN_CLIP: Texts = {"text_encoder": partial(open_clip, prefix="cond_stage_model.model.", extra_layer=True)}
BOTH: Texts = {
    "text_encoder": partial(ldm_clip, prefix=f"{FIRST}transformer."),
    "text_encoder_2": partial(open_clip, prefix="conditioner.embedders.1.model."),
}
REFINER: Texts = {"text_encoder_2": partial(open_clip, prefix=f"{FIRST}model.")}

KINDS: dict[str, Texts] = {
    "sd-1.5": CLIP,
    "sd-1.5-inpainting": CLIP,
    "sd-2.1": OPEN_CLIP,
    "sd-2.1-base": OPEN_CLIP,
    "xl-base": BOTH,
    "xl-inpaint": BOTH,
    "xl-pruned": BOTH,
    "xl-refiner": REFINER,
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Path:
    target = tmp_path_factory.mktemp("families") / "checkpoint"
    if kind.startswith("xl-"):
        return save_tiny_xl(target, demo_checkpoint, kind.removeprefix("xl-"))
    return save_published(target, PUBLISHED[kind], demo_checkpoint)


@pytest.fixture(scope="module")
def file(kind: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written from the modules as diffusers and transformers load them."""
    import diffusers
    import transformers

    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True)
    state = ldm_unet(diffusers.UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True))
    state |= ldm_vae(vae)
    for part, write in KINDS[kind].items():
        classes = {"text_encoder": transformers.CLIPTextModel}
        model = classes.get(part, transformers.CLIPTextModelWithProjection)
        state |= write(model.from_pretrained(folder / part, local_files_only=True))
    path = tmp_path_factory.mktemp("families") / f"{kind}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning")  # diffusers' of every old config
def test_the_modules_and_texts_are_those_of_the_folder(kind: str, folder: Path, file: Path, tmp_path: Path) -> None:
    expected = load_checkpoint(str(folder))
    got = load_parts(find_parts(str(file), None, None, Origins(config=folder), Chosen(), tmp_path))
    check_same(got, expected)
    assert got.pipeline_class == expected.pipeline_class
    assert got.scheduler_config == expected.scheduler_config
    assert got.source.prediction is not None
    assert got.source.prediction.type == ("v_prediction" if kind == "sd-2.1" else "epsilon")


@pytest.mark.slow
@pytest.mark.usefixtures("traced_anew")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_graphs_are_those_of_the_folder(folder: Path, file: Path, tmp_path: Path) -> None:
    with without_parity():
        expected = export_checkpoint(str(folder), tmp_path / "folder")
        torch.manual_seed(1)
        got = export_checkpoint(str(file), tmp_path / "file", origins=Origins(config=folder))
    assert graphs(got) == graphs(expected)
