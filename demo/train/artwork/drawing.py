"""What an evaluation is of: a diffusers checkpoint on PyTorch, or a bundle on the runtime, drawing the same pictures.

Batches are kept on disk as they are drawn, so that a killed evaluation goes on where it stopped.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.atomic_file import atomic_path, write_text
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.families.source_hash import weights_sha256
from mezzotint.progress import Progress
from mezzotint.runtime import TextToImage
from mezzotint.runtime.images.vae import image_latents


@dataclass(frozen=True)
class Drawn:
    """How pictures are drawn: picture i has the seed `seed + i`, whatever the batch."""

    steps: int = 25
    guidance: float = 5.0
    seed: int = 1000
    batch: int = 16


class Subject(Protocol):
    """Something that draws, and whose autoencoder can be tried alone. Pictures are (B, H, W, 3) in [0, 1]."""

    @property
    def description(self) -> dict[str, str]:
        """What its pictures depend on."""

    def draw(self, prompts: Sequence[str], how: Drawn, seed: int) -> FloatArray:
        """A picture of each prompt, the first with the seed `seed`."""

    def reconstruct(self, pixels: FloatArray) -> FloatArray:
        """Pictures through the encoder, without noise, and the decoder."""


def open_subject(path: Path, backend: str = "auto") -> Subject:
    """A bundle, which its manifest tells, or a diffusers checkpoint, which runs on PyTorch in FP32."""
    if (path / MANIFEST_NAME).is_file():
        return BundleSubject(TextToImage.load(path, backend=backend))
    from mezzotint.benchmarks.cases.baseline import load
    from mezzotint.benchmarks.cases.case import REFERENCE, Case

    loaded = load(Case(REFERENCE, "baseline", str(path), "diffusers", "fp32", "f32"))
    return CheckpointSubject(loaded.pipe, weights_sha256(path))


@dataclass(frozen=True, eq=False)
class CheckpointSubject:
    """diffusers in FP32, with the checkpoint's own scheduler."""

    pipe: Any  # diffusers.StableDiffusionPipeline
    sha256: str

    @property
    def description(self) -> dict[str, str]:
        """See Subject."""
        return {"weights_sha256": self.sha256, "backend": "diffusers", "precision": "f32", "recipe": "fp32"}

    def draw(self, prompts: Sequence[str], how: Drawn, seed: int) -> FloatArray:
        """See Subject."""
        import torch

        with torch.inference_mode():
            pixels: FloatArray = self.pipe(
                list(prompts),
                num_inference_steps=how.steps,
                guidance_scale=how.guidance,
                generator=[torch.Generator().manual_seed(seed + index) for index in range(len(prompts))],
                output_type="np",
            ).images
        return pixels.astype(np.float32)

    def reconstruct(self, pixels: FloatArray) -> FloatArray:
        """See Subject."""
        import torch

        with torch.inference_mode():
            inputs = 2.0 * torch.from_numpy(pixels).permute(0, 3, 1, 2) - 1.0
            outputs = self.pipe.vae.decode(self.pipe.vae.encode(inputs).latent_dist.mode()).sample
            decoded: FloatArray = (outputs / 2.0 + 0.5).clamp(0.0, 1.0).permute(0, 2, 3, 1).numpy()
        return decoded


@dataclass(frozen=True, eq=False)
class BundleSubject:
    """The runtime, on the engine that was asked for, in the precision that the bundle states."""

    pipe: TextToImage

    @property
    def description(self) -> dict[str, str]:
        """See Subject."""
        manifest = self.pipe.bundle.manifest
        return {
            "weights_sha256": manifest.source.sha256,
            "bundle_sha256": hashlib.sha256(manifest.to_json().encode()).hexdigest(),
            "backend": self.pipe.backend,
            "precision": self.pipe.precision,
            "recipe": manifest.recipe,
        }

    def draw(self, prompts: Sequence[str], how: Drawn, seed: int) -> FloatArray:
        """See Subject."""
        return self.pipe(list(prompts), steps=how.steps, guidance=how.guidance, seed=seed).pixels

    def reconstruct(self, pixels: FloatArray) -> FloatArray:
        """See Subject."""
        geometry = self.pipe.geometry
        inputs = (2.0 * pixels - 1.0).transpose(0, 3, 1, 2).astype(np.float32)
        encoded = self.pipe.encode(np.ascontiguousarray(inputs))  # (B, 8 or 4, h, w)
        still = np.zeros((len(encoded), geometry.latent_channels, *encoded.shape[2:]), dtype=np.float32)
        return self.pipe.decode(image_latents(encoded, lambda: still, geometry))


def draw_all(subject: Subject, prompts: Sequence[str], how: Drawn, folder: Path, progress: Progress) -> FloatArray:
    """All pictures (N, H, W, 3), batch by batch; those that lie in `folder` from the same job are not drawn again."""
    _claim(folder, {**subject.description, **asdict(how), "prompts": list(prompts)})
    parts = []
    for start in range(0, len(prompts), how.batch):
        progress("drawing", start, len(prompts))
        path = folder / f"{start:04}.npy"
        if not path.exists():
            pixels = subject.draw(prompts[start : start + how.batch], how, how.seed + start)
            with atomic_path(path) as partial, partial.open("wb") as file:
                np.save(file, pixels)
        parts.append(np.load(path))
    progress("drawing", len(prompts), len(prompts))
    return np.concatenate(parts)


def _claim(folder: Path, job: dict[str, Any]) -> None:
    """Empty the folder if another job's pictures lie in it."""
    path, text = folder / "job.json", json.dumps(job, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(path, text)
