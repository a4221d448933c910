"""`python -m demo.train.distillation`: a small AutoencoderTiny that speaks the embedded VAE's latents, as demo/taesd.

The teacher encodes and decodes every picture once, on backgrounds of any colour. Then both halves learn from that: the
encoder to say the teacher's latents, scaled as the UNet sees them, and the decoder to draw what the teacher draws from
them (Boer Bohan's TAESD of 2023, without its adversarial part). A training that was killed goes on where it was.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from mezzotint.arrays import FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.atomic_folder import replace_folder
from mezzotint.benchmarks.metrics.gallery import compose
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT, show_progress
from mezzotint.decibel import psnr_db
from mezzotint.export.files.quiet import quiet
from mezzotint.progress import Progress, silent

from .autoencoder import is_matrix, reconstruction_losses
from .learning_rate import cosine
from .loop import Plan, step_seed, train
from .meter import Meter, show_training
from .optimizer import MatrixOptimizer
from .pictures import load_pictures
from .workspace import Workspace

NAME = "distillation"
_BATCH = 32  # of the teacher


@dataclass(frozen=True)
class Distillation:
    """The sizes of the student, and how it is trained; `held_out` is every how manieth picture it never sees."""

    channels: int = 32
    encoder_blocks: tuple[int, ...] = (1, 3, 3)
    decoder_blocks: tuple[int, ...] = (3, 3, 1)
    steps: int = 500
    batch: int = 16
    learning_rate: float = 2e-3
    warm_up_steps: int = 50
    newton_schulz_steps: int = 5
    gradient_weight: float = 0.4
    latent_noise: float = 0.05  # what a denoiser leaves is not quite what an encoder says
    colours: int = 2  # backgrounds of each picture
    held_out: int = 20
    seed: int = 0
    log_every_steps: int = 25
    save_every_s: float = 60.0


@dataclass(frozen=True, eq=False)
class Lessons:
    """Pictures and the teacher's drawings of them (N, 3, H, W) in [-1, 1], and its scaled latents (N, 4, h, w)."""

    pixels: torch.Tensor
    drawn: torch.Tensor
    latents: torch.Tensor

    def rows(self, chosen: torch.Tensor) -> "Lessons":
        """Some of them, as floats in channels_last."""
        parts = (getattr(self, name)[chosen].float() for name in ("pixels", "drawn", "latents"))
        return Lessons(*(part.contiguous(memory_format=torch.channels_last) for part in parts))


def teach(workspace: Workspace, vae: Path, plan: Distillation, progress: Progress) -> Lessons:
    """What the teacher says of all pictures; kept in the workspace."""
    path = workspace.root / f"lessons-{plan.colours}-{plan.seed}.npz"
    if not path.exists():
        rgba = np.repeat(load_pictures(workspace.pictures).rgba, plan.colours, axis=0)
        colours = np.random.default_rng(plan.seed).random((len(rgba), 3), dtype=np.float32)
        teacher: Any = AutoencoderKL.from_pretrained(vae, local_files_only=True).float().eval()
        parts: list[tuple[FloatArray, ...]] = []
        for start in range(0, len(rgba), _BATCH):
            progress("asking the teacher", start, len(rgba))
            composed = compose(rgba[start : start + _BATCH], colours[start : start + _BATCH])
            parts.append(_ask(teacher, 2.0 * torch.from_numpy(composed).permute(0, 3, 1, 2) - 1.0))
        pixels, drawn, latents = (np.concatenate(part).astype(np.float16) for part in zip(*parts, strict=True))
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez(file, pixels=pixels, drawn=drawn, latents=latents)
    with np.load(path) as data:
        return Lessons(*(torch.from_numpy(data[name]) for name in ("pixels", "drawn", "latents")))


def _ask(teacher: Any, pixels: torch.Tensor) -> tuple[FloatArray, ...]:
    with torch.inference_mode():
        latents = teacher.encode(pixels).latent_dist.mode()
        drawn = teacher.decode(latents).sample.clamp(-1.0, 1.0)
    return pixels.numpy(), drawn.numpy(), (latents * teacher.config.scaling_factor).numpy()


@dataclass(frozen=True, eq=False)
class Student:
    """The model in training. Make one with `create`."""

    plan: Distillation
    model: Any  # diffusers.AutoencoderTiny
    optimizer: MatrixOptimizer
    lessons: Lessons
    seen: torch.Tensor  # indices of the lessons that are learnt from

    columns = ("latents", "l1")

    @classmethod
    def create(cls, plan: Distillation, lessons: Lessons) -> "Student":
        """An untrained one; the seed decides the weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            model: Any = AutoencoderTiny(
                encoder_block_out_channels=(plan.channels,) * len(plan.encoder_blocks),
                decoder_block_out_channels=(plan.channels,) * len(plan.decoder_blocks),
                num_encoder_blocks=plan.encoder_blocks,
                num_decoder_blocks=plan.decoder_blocks,
            ).to(memory_format=torch.channels_last)
        parameters = list(model.parameters())
        matrices = [one for one in parameters if is_matrix(one)]
        others = [one for one in parameters if not is_matrix(one)]
        optimizer = MatrixOptimizer(matrices, others, plan.newton_schulz_steps)
        indices = torch.arange(len(lessons.pixels))
        return cls(plan, model, optimizer, lessons, indices[~_is_held_out(indices, plan)])

    def train_step(self, step: int) -> Sequence[float]:
        """One batch."""
        plan = self.plan
        generator = torch.Generator().manual_seed(step_seed(plan.seed, step))
        lessons = self.lessons.rows(self.seen[torch.randint(len(self.seen), (plan.batch,), generator=generator)])
        noise = plan.latent_noise * torch.randn(lessons.latents.shape, generator=generator)
        said = (self.model.encoder(lessons.pixels) - lessons.latents).square().mean()
        l1, gradient_l1, mse = reconstruction_losses(lessons.drawn, self.model.decoder(lessons.latents + noise))
        (said + l1 + plan.gradient_weight * gradient_l1 + mse).backward()
        self.optimizer.step(cosine(plan.learning_rate, step, plan.steps, plan.warm_up_steps))
        return said.item(), l1.item()

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def distil(
    workspace: Workspace, vae: Path, output: Path, plan: Distillation, meter: Meter, progress: Progress = silent
) -> None:
    """Write the student of the VAE in the folder `vae` to `output`, a diffusers folder in FP16.

    The workspace has the pictures; it keeps the teacher's lessons and where an unfinished training goes on from.
    """
    student = Student.create(plan, teach(workspace, vae, plan, progress))
    state = workspace.state(NAME)
    train(
        student,
        Plan(plan.steps, plan.batch, plan.log_every_steps, plan.save_every_s, state, workspace.losses(NAME)),
        meter,
    )
    with replace_folder(output, marker="config.json", overwrite=True) as staging:
        student.model.to(memory_format=torch.contiguous_format).half().save_pretrained(staging)
    state.unlink()


def scores(workspace: Workspace, student: Path, plan: Distillation) -> dict[str, float]:
    """PSNR in dB on the pictures that the student never saw: its decoder against the teacher's, and its round trip."""
    with show_progress() as progress:
        lessons = teach(workspace, student, plan, progress)
    indices = torch.arange(len(lessons.pixels))
    held = lessons.rows(indices[_is_held_out(indices, plan)])
    with quiet("diffusers"):  # which warns of a key that it wrote itself
        model: Any = AutoencoderTiny.from_pretrained(student, local_files_only=True).float().eval()
    with torch.inference_mode():
        drawn, again = model.decoder(held.latents), model.decoder(model.encoder(held.pixels))
    return {
        "decoder against the teacher's": _mean_psnr_db(held.drawn, drawn),
        "teacher's round trip": _mean_psnr_db(held.pixels, held.drawn),
        "student's round trip": _mean_psnr_db(held.pixels, again),
    }


def _is_held_out(indices: torch.Tensor, plan: Distillation) -> torch.Tensor:
    """Whole pictures, on all of their backgrounds."""
    return (indices // plan.colours) % plan.held_out == 0


def _mean_psnr_db(expected: torch.Tensor, found: torch.Tensor) -> float:
    pairs = zip(*(((one.clamp(-1.0, 1.0) + 1.0) / 2.0).numpy() for one in (expected, found)), strict=True)
    return float(np.mean([psnr_db(*pair) for pair in pairs]))


def main() -> None:
    """The command line; exit code 2 with one sentence for what cannot be done, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo.train.distillation", description=__doc__)
    parser.add_argument("-w", "--workspace", type=Path, default=Path("training"), help="folder with pictures.npz")
    parser.add_argument("--vae", type=Path, default=Path("demo/checkpoint/vae"), help="the teacher")
    parser.add_argument("-o", "--output", type=Path, default=Path("training/taesd"), help="the student's folder")
    options = parser.parse_args()
    workspace, plan = Workspace(options.workspace), Distillation()
    with exit_with_a_sentence(if_interrupted="interrupted; the same command goes on from here"):
        with show_progress() as progress, show_training(NAME) as meter:
            distil(workspace, options.vae, options.output, plan, meter, progress)
        for what, figure in scores(workspace, options.output, plan).items():
            STDOUT.print(f"{what}: {figure:.1f} dB", markup=False)


if __name__ == "__main__":
    main()
