"""A bundle on one engine as a subject: what users run, through the runtime's public face."""

import time
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.runtime.text_to_image import TextToImage

from .case import Case, Sample, Trajectory
from .workload import Workload

__all__ = ["BundleSubject", "load"]


@dataclass(frozen=True)
class BundleSubject:
    """A loaded bundle."""

    pipe: TextToImage

    @property
    def precision(self) -> str:
        """The UNet's compute precision."""
        return self.pipe.precision

    def draw(self, prompt: str, seed: int, workload: Workload) -> Sample:
        """One picture, timed from the call to the finished picture."""
        started = time.perf_counter()
        result = self.pipe(
            prompt,
            steps=workload.steps,
            guidance=workload.guidance,
            seed=seed,
            scheduler=workload.scheduler,
            height=workload.height,
            width=workload.width,
        )
        end_to_end_ms = (time.perf_counter() - started) * 1e3
        timings = result.timings
        return Sample(
            result.pixels[0],
            result.latents[0],
            timings.text_encoder_ms,
            timings.unet_step_ms,
            timings.vae_decoder_ms,
            end_to_end_ms,
        )

    def predict(self, prompt: str, trajectory: Trajectory) -> FloatArray:
        """(S, G, 4, h, w): one call of batch G a step, as in a guided run."""
        halves = trajectory.model_outputs.shape[1]
        texts = [prompt] if halves == 1 else ["", prompt]
        embeddings = np.concatenate([self.pipe.encode([text]) for text in texts])  # (G, tokens, width)
        steps = zip(trajectory.model_inputs, trajectory.timesteps, strict=True)
        return np.stack([self._call(np.stack([state] * halves), step, embeddings) for state, step in steps])

    def _call(self, sample: Array, timestep: float, embeddings: FloatArray) -> Array:
        unet = self.pipe.sessions["unet"]
        spec = next(spec for spec in unet.component.inputs if spec.name == "timestep")
        step = np.full((1,) * len(spec.dims), timestep, dtype=spec.dtype)
        return unet.run({"sample": sample, "timestep": step, "encoder_hidden_states": embeddings})["out_sample"]


def load(case: Case) -> BundleSubject:
    """Load the case's bundle on its backend."""
    return BundleSubject(TextToImage.load(case.source, backend=case.backend, precision=case.precision))
