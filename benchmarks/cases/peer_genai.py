"""OpenVINO GenAI's text-to-image pipeline as a subject; C++ inside, so its own clocks time the parts."""

import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.runtime.denoiser_calls import DenoiserCall
from mezzotint.runtime.noise.torch_cpu import torch_normal

from .case import Case, Sample
from .workload import Workload

_PACKAGE = "openvino_genai"  # installed where `make peers` put it, and nowhere else


class GenaiSubject:
    """A loaded pipeline. It neither hands out its final latent nor lets its UNet be called alone."""

    def __init__(self, pipe: Any, precision: str, config: Path) -> None:
        self.pipe = pipe
        self.precision = precision
        self._config = config

    def generate(self, prompt: str, seed: int, workload: Workload) -> Sample:
        """One image, timed from the call to the finished image; the noise is the baseline's."""
        genai = import_module(_PACKAGE)
        self._set_scheduler(genai, workload.scheduler)
        size = {name: value for name in ("height", "width") if (value := getattr(workload, name)) is not None}
        started = time.perf_counter()
        tensor = self.pipe.generate(
            prompt,
            num_inference_steps=workload.steps,
            guidance_scale=workload.guidance,
            generator=_torch_noise(genai, seed),
            **size,
        )
        end_to_end_ms = (time.perf_counter() - started) * 1e3
        clocks = self.pipe.get_performance_metrics()
        pixels = tensor.data[0].astype(np.float32) / np.float32(255.0)  # it rounds to 8 bits by itself
        steps_ms = tuple(micros / 1e3 for micros in clocks.raw_metrics.unet_inference_durations)
        text_ms = sum(clocks.get_text_encoder_infer_duration().values())
        return Sample(pixels, None, text_ms, steps_ms, clocks.get_vae_decoder_infer_duration(), end_to_end_ms)

    def predict(self, _prompt: str, _calls: Sequence[DenoiserCall], _workload: Workload) -> FloatArray | None:
        """None: there is no way to ask."""
        return None

    def _set_scheduler(self, genai: Any, name: str) -> None:
        kinds = {"ddim": "DDIM", "euler": "EULER_DISCRETE"}
        if name not in kinds:
            raise RuntimeError(f"OpenVINO GenAI has no scheduler {name}")
        kind = getattr(genai.Scheduler.Type, kinds[name])
        self.pipe.set_scheduler(genai.Scheduler.from_config(self._config, kind))


def _torch_noise(genai: Any, seed: int) -> Any:
    """A generator, as GenAI wants it, of the noise that torch's CPU generator gives for `seed`."""
    import openvino

    class TorchNoise(genai.Generator):  # type: ignore[misc]  # a class that is known only now
        def __init__(self) -> None:
            genai.Generator.__init__(self)

        def next(self) -> float:
            raise NotImplementedError("DDIM and Euler draw their noise at once")

        def randn_tensor(self, shape: Any) -> Any:
            return openvino.Tensor(torch_normal(tuple(shape), seed))

    return TorchNoise()


def load(case: Case) -> GenaiSubject:
    """Load a folder that optimum-intel exported, on the CPU."""
    precision = case.precision or "f32"
    pipe = import_module(_PACKAGE).Text2ImagePipeline(case.source, "CPU", INFERENCE_PRECISION_HINT=precision)
    return GenaiSubject(pipe, precision, Path(case.source, "scheduler", "scheduler_config.json"))
