"""Text to image from a bundle: numpy and one inference engine, no PyTorch.

    from mezzotint.runtime import TextToImage

    pipe = TextToImage.load("bundle")
    image = pipe("a red apple on a blue background", steps=25, seed=0).images[0]

A pipe holds no state between calls, and may be called from several threads.
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .arrays import FloatArray
from .bundle import Bundle
from .denoiser import Conditioning, Denoiser
from .engine import EngineOptions
from .engines import Choice, choose_engine
from .errors import MezzotintError
from .geometry import Geometry
from .noise_batch import BatchNoise
from .picture import to_images, to_pixels
from .samplers import find_sampler
from .scheduler_config import SchedulerConfig
from .session import Session
from .tokenizer import ClipTokenizer

__all__ = ["Result", "Step", "TextToImage", "Timings"]

_FAMILY = "stable-diffusion"
_COMPONENTS = ("text_encoder", "unet", "vae_decoder")


@dataclass(frozen=True)
class Step:
    """Progress: the step that was done (from 0), how many there are, and the latents (B, 4, h, w) it left."""

    index: int
    steps: int
    latents: FloatArray


@dataclass(frozen=True)
class Timings:
    """Wall time in milliseconds. `unet_step_ms` has one figure a step: both guidance halves of the whole batch."""

    text_encoder_ms: float
    unet_step_ms: tuple[float, ...]
    vae_decoder_ms: float
    total_ms: float


@dataclass(frozen=True)
class Result:
    """Pictures in the prompts' order; `pixels` (B, H, W, 3) in [0, 1] before rounding; final `latents` (B, 4, h, w)."""

    images: tuple[Image.Image, ...]
    pixels: FloatArray
    latents: FloatArray
    timings: Timings


class TextToImage:
    """A loaded bundle. Make one with `load`; call it with prompts."""

    def __init__(self, bundle: Bundle, choice: Choice, sessions: Mapping[str, Session]) -> None:
        self.bundle = bundle
        self.choice = choice
        self.sessions = sessions
        self.config = SchedulerConfig.from_dict(bundle.config("scheduler/scheduler_config.json"))
        self.geometry = Geometry.from_configs(
            bundle.config("unet/config.json"), bundle.config("vae_decoder/config.json")
        )
        self.tokenizer = ClipTokenizer.load(bundle.path / "tokenizer")

    @classmethod
    def load(
        cls, path: Path | str, *, backend: str = "auto", precision: str | None = None, threads: int | None = None
    ) -> "TextToImage":
        """Open a bundle and load its graphs; `precision` ("f32", "bf16", "f16") overrides what the manifest states."""
        bundle = Bundle.open(path)
        if bundle.manifest.family != _FAMILY:
            raise MezzotintError(f"{path} is of the family {bundle.manifest.family!r}, expected {_FAMILY!r}")
        choice = choose_engine(bundle.manifest, backend)
        sessions = {}
        for name in _COMPONENTS:
            component = bundle.component(name)
            options = EngineOptions(precision or component.compute, threads, _cache_dir(choice.engine.name))
            sessions[name] = Session.open(name, bundle.graph_path(name), component, choice.engine, options)
        return cls(bundle, choice, sessions)

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str = "",
        steps: int = 25,
        guidance: float = 5.0,
        seed: int = 0,
        rng: str = "torch",
        scheduler: str = "ddim",
        height: int | None = None,
        width: int | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> Result:
        """Draw one picture a prompt; picture i has the seed `seed + i` and equals a single run with that seed.

        `rng` is one of noise_batch.RNGS: whose noise a seed stands for.
        """
        started = time.perf_counter()
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts:
            raise MezzotintError("got no prompt; pass at least one")
        if not math.isfinite(guidance):
            raise MezzotintError(f"guidance is {guidance}, expected a finite number; 1 or less is no guidance")
        sampler = find_sampler(scheduler)
        schedule = sampler.schedule(self.config, steps)
        noise = BatchNoise.seeded(rng, seed, len(prompts), self.geometry.latent_shape(height, width))
        start = noise() * np.float32(schedule.initial_scale)  # (B, 4, h, w)

        encoding = time.perf_counter()
        conditioning = Conditioning(self.encode(prompts), self.encode([negative_prompt] * len(prompts)), guidance)
        text_encoder_ms = _ms_since(encoding)

        denoiser = Denoiser(self.sessions["unet"], self.config, schedule, conditioning)

        def report(index: int, x: FloatArray, _x0: FloatArray) -> None:
            if on_step is not None:
                on_step(Step(index, steps, x))

        x = sampler.sample(denoiser, start, schedule, report, noise)
        latents = schedule.final_latents(x)

        decoding = time.perf_counter()
        pixels = self.decode(latents)
        timings = Timings(text_encoder_ms, tuple(denoiser.unet_ms), _ms_since(decoding), _ms_since(started))
        return Result(to_images(pixels), pixels, latents, timings)

    @property
    def backend(self) -> str:
        """The engine's name."""
        return self.choice.engine.name

    @property
    def precision(self) -> str:
        """The arithmetic that the UNet computes in."""
        return self.sessions["unet"].precision

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """Text embeddings (B, tokens, width); warns when a prompt is longer than the token window."""
        encoding = self.tokenizer.encode_with_counts(prompts)
        for text, cut in zip(prompts, encoding.cut_tokens, strict=True):
            if cut:
                warnings.warn(f"the prompt {text!r:.60} is {cut} tokens too long; its end was cut", stacklevel=2)
        session = self.sessions["text_encoder"]
        ids = encoding.ids.astype(session.component.inputs[0].dtype)  # int64 here, int32 from Optimum's exporter
        return session.run({"input_ids": ids})["last_hidden_state"]

    def decode(self, latents: FloatArray) -> FloatArray:
        """Pixels in [0, 1], (B, H, W, 3), of final latents (B, 4, h, w)."""
        scaled = (latents / self.geometry.scaling_factor + self.geometry.shift_factor).astype(np.float32)
        return to_pixels(self.sessions["vae_decoder"].run({"latent_sample": scaled})["sample"])


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


def _cache_dir(engine: str) -> Path | None:
    """The folder for compiled graphs, as the XDG base directory specification has it; None for a user without home."""
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        home = stated if stated.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return home / "mezzotint" / engine
