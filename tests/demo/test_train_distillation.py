"""A student of a small autoencoder: it learns, a killed training ends where an uninterrupted one does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny

from demo.train.autoencoder import build_autoencoder
from demo.train.distillation import Distillation, Student, distil, scores, teach
from demo.train.meter import show_training
from demo.train.workspace import Workspace
from mezzotint.bundle.bundle import sha256_of
from tests.demo.small_recipe import RECIPE, on_one_thread, run

pytest.importorskip("resvg_py")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PLAN = Distillation(
    channels=32,
    encoder_blocks=(1, 1),
    decoder_blocks=(1, 1),
    steps=4,
    batch=4,
    warm_up_steps=1,
    held_out=8,
    log_every_steps=2,
    save_every_s=0.0,
)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return run(tmp_path_factory.mktemp("distillation") / "training", until="render")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "vae"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = build_autoencoder(RECIPE.autoencoder, RECIPE.side_pixels)
    vae.to(memory_format=torch.contiguous_format).save_pretrained(folder)
    return folder


def taught(workspace: Workspace, teacher: Path, output: Path) -> Path:
    with on_one_thread(), show_training("distillation") as meter:
        distil(workspace, teacher, output, PLAN, meter)
    return output


def test_a_student_is_half_as_precise_and_whole(workspace: Workspace, teacher: Path, tmp_path: Path) -> None:
    student = AutoencoderTiny.from_pretrained(taught(workspace, teacher, tmp_path / "taesd"), torch_dtype=torch.float16)
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float16}
    assert student.config.scaling_factor == 1.0
    figures = scores(workspace, tmp_path / "taesd", PLAN)
    assert all(0.0 < figure < 60.0 for figure in figures.values())


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    workspace: Workspace, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = taught(workspace, teacher, tmp_path / "whole")
    take_step = Student.train_step

    def stopping(self: Student, step: int) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return take_step(self, step)

    workspace.state("distillation").unlink(missing_ok=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Student, "train_step", stopping)
        taught(workspace, teacher, tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()
    assert sha256_of(taught(workspace, teacher, tmp_path / "stopped") / WEIGHTS) == sha256_of(whole / WEIGHTS)


def test_whole_pictures_are_held_out(workspace: Workspace, teacher: Path) -> None:
    """Not the same one on another background."""
    student = Student.create(PLAN, teach(workspace, teacher, PLAN, lambda *_: None))
    pictures = {int(index) // PLAN.colours for index in student.seen}
    assert pictures == {picture for picture in range(32) if picture % 8}
    other = Student.create(replace(PLAN, held_out=2), student.lessons)
    assert len(other.seen) == len(student.lessons.pixels) // 2
