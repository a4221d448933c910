"""From made-up icons to a pipeline that diffusers loads; a killed run ends where an uninterrupted one does."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from demo.train.autoencoder import AutoencoderTrainee
from demo.train.config import RECIPE as FULL
from demo.train.latents import load_latents
from demo.train.networks import build_text_encoder, build_unet
from demo.train.pictures import load_pictures
from demo.train.stages import STAGES, run_stages
from demo.train.workspace import Workspace
from mezzotint.bundle.bundle import list_files, sha256_of
from mezzotint.errors import MezzotintError
from tests.demo.small_recipe import CONCEPTS, RECIPE, run

pytest.importorskip("resvg_py")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

KILLED = """
import os, signal, sys
from pathlib import Path
from demo.train.pipeline import PipelineTrainee
from tests.demo.small_recipe import run
take_step = PipelineTrainee.train_step
def train_step(self, step):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(self, step)
PipelineTrainee.train_step = train_step
run(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All stages, uninterrupted. Not to be written to."""
    return run(tmp_path_factory.mktemp("recipe") / "training")


def result(workspace: Workspace) -> dict[str, str]:
    """A hash of each file of the checkpoint and of the logs."""
    files = {name: sha256_of(workspace.checkpoint / name) for name in list_files(workspace.checkpoint)}
    return files | {name: workspace.losses(name).read_text() for name in ("autoencoder", "unet")}


def test_diffusers_draws_with_the_checkpoint(workspace: Workspace) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(workspace.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    assert len(pipe.tokenizer) == RECIPE.vocabulary
    assert pipe.vae.config.scaling_factor == pytest.approx(load_latents(workspace.latents).scaling_factor)
    picture = pipe("a flat emoji of a red ball on a blue background", num_inference_steps=2, output_type="np").images
    assert picture.shape == (1, 32, 32, 3)
    assert np.isfinite(picture).all()


def test_the_checkpoint_carries_the_notices_of_its_sources(workspace: Workspace) -> None:
    names = {path.name for path in (workspace.checkpoint / "licences").iterdir()}
    assert {"emojilib-4.0.3.LICENSE", "iconify-json-noto-1.2.9.package.json", "noto.LICENSE"} <= names


def test_there_is_a_picture_of_every_concept_in_both_styles(workspace: Workspace) -> None:
    pictures = load_pictures(workspace.pictures)
    assert pictures.rgba.shape == (32, 32, 32, 4)
    assert list(zip(pictures.concepts, pictures.styles, strict=True)) == [
        (concept, style) for concept in CONCEPTS for style in ("flat", "noto")
    ]


def test_latents_have_unit_variance_and_are_the_autoencoders(workspace: Workspace) -> None:
    latents = load_latents(workspace.latents)
    assert latents.scaled.shape == (32, 10, 4, 16, 16)
    assert latents.scaled.astype(np.float64).std() == pytest.approx(1.0, rel=1e-2)


def test_the_log_has_a_row_for_every_few_steps(workspace: Workspace) -> None:
    lines = workspace.losses("unet").read_text().splitlines()
    assert lines[0] == "samples_seen,weighted_loss,eps_mse"
    assert [int(line.split(",")[0]) for line in lines[1:]] == [8, 16, 24]
    assert all(np.isfinite([float(value) for value in line.split(",")]).all() for line in lines[1:])


def test_a_run_that_was_killed_ends_where_an_uninterrupted_one_does(
    workspace: Workspace, tmp_path: Path, repo_root: Path
) -> None:
    root = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], cwd=repo_root, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert Workspace(root).state("unet").exists()
    assert result(run(root)) == result(workspace)


def test_an_interrupted_autoencoder_goes_on(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    take_step = AutoencoderTrainee.train_step

    def train_step(self: AutoencoderTrainee, step: int) -> Sequence[float]:
        if len(taken) == 3:
            taken.append(-1)
            raise KeyboardInterrupt
        taken.append(step)
        return take_step(self, step)

    monkeypatch.setattr(AutoencoderTrainee, "train_step", train_step)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "interrupted", until="autoencoder")
    interrupted = run(tmp_path / "interrupted", until="autoencoder")
    assert taken == [0, 1, 2, -1, 3, 4, 5]
    for name in list_files(workspace.autoencoder):
        assert sha256_of(interrupted.autoencoder / name) == sha256_of(workspace.autoencoder / name), name


def test_what_is_done_is_not_done_again(workspace: Workspace) -> None:
    before = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")}
    run(workspace.root)
    assert {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")} == before


def test_another_recipes_folder_is_refused(workspace: Workspace) -> None:
    with pytest.raises(MezzotintError, match="another recipe"):
        run_stages(workspace, replace(RECIPE, seed=1), CONCEPTS)


def test_an_unknown_stage_is_refused(workspace: Workspace) -> None:
    with pytest.raises(MezzotintError, match=f"there are {STAGES[0].name}"):
        run_stages(workspace, RECIPE, CONCEPTS, "bake")


def test_the_full_recipe_builds_the_embedded_checkpoints_networks(demo_checkpoint: Path) -> None:
    """Same configs, but for what a version of a library adds."""
    with torch.device("meta"):
        built = {"text_encoder": build_text_encoder(FULL), "unet": build_unet(FULL.pipeline, 16)}
    for name, network in built.items():
        wanted = json.loads((demo_checkpoint / name / "config.json").read_text())
        got = network.config if name == "unet" else network.config.to_dict()
        written_when_saved = {"architectures", "transformers_version", "torch_dtype"}
        shared = [key for key in wanted if key in got and key not in written_when_saved and not key.startswith("_")]
        assert len(shared) > 15
        assert json.loads(json.dumps({key: got[key] for key in shared})) == {key: wanted[key] for key in shared}
