"""The reference: diffusers in PyTorch on this machine's CPU, at its best and otherwise untouched.

In FP16 it runs on the GPU, as the peer to beat there: a call is timed until the GPU is done with it.

At its best means: `inference_mode`, scaled-dot-product attention (diffusers' default processor where torch has it) and
all cores (torch's default). Weights stay contiguous: channels_last gave no difference beyond noise on the embedded
checkpoint (10 steps on 2 cores: 0.67 to 0.81 s contiguous, 0.70 to 0.97 s channels_last). The same pipeline in BF16
is a control, and the peer to beat where the CPU has AMX. The recipe "compile" puts the UNet through torch.compile.

Prompts are tokenized by CLIPTokenizerFast on both sides. With transformers 4 diffusers would load the older class,
which reads Chinese and joined emoji otherwise, and a fidelity figure would then compare two prompts.
"""

import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy as np
import torch

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError
from mezzotint.runtime.denoiser_calls import DenoiserCall

from .case import Case, Sample
from .workload import SCHEDULERS, Workload

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_ON_GPU = ("f16",)  # the only one that a CPU has no arithmetic for
_GPU = "cuda"
# What the runtime reads where the checkpoint says nothing, and diffusers' other classes otherwise; see SchedulerConfig.
_UNSTATED = {"clip_sample": False, "skip_prk_steps": True}
_ADDED = ("text_embeds", "time_ids")  # what a UNet is told in a dict of its own
_TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
_OF_EDM = {"euler": "EDMEulerScheduler", "dpmpp-2m": "EDMDPMSolverMultistepScheduler"}


@dataclass
class _Stopwatch:
    """Stands in for a function and keeps the wall time of every call, in milliseconds."""

    function: Callable[..., Any]
    wait: Callable[[], None]
    calls_ms: list[float] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = self.function(*args, **kwargs)
        self.wait()
        self.calls_ms.append((time.perf_counter() - started) * 1e3)
        return result

    def take(self) -> tuple[float, ...]:
        """The calls since the last take."""
        taken = tuple(self.calls_ms)
        self.calls_ms.clear()
        return taken


@dataclass(frozen=True)
class Baseline:
    """A loaded diffusers pipeline whose components are timed."""

    pipe: Any  # diffusers' text to image of the checkpoint's family
    precision: str
    tensors: torch.dtype
    text_encoders: tuple[_Stopwatch, ...]
    unet: _Stopwatch
    vae_decoder: _Stopwatch
    device: str = "cpu"

    def generate(self, prompt: str, seed: int, workload: Workload) -> Sample:
        """One image, timed from the call to the finished image. The noise is torch's, from a CPU generator."""
        self._set_scheduler(workload.scheduler)
        latents: list[torch.Tensor] = []
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = self._noise(generator, workload)  # what steps add is drawn after it
        started = time.perf_counter()
        with torch.inference_mode(), _noise_in_float32(self.pipe.scheduler):
            pixels = self.pipe(
                prompt,
                height=workload.height,
                width=workload.width,
                num_inference_steps=workload.steps,
                guidance_scale=workload.guidance,
                latents=noise,
                generator=generator,
                output_type="np",
                callback_on_step_end=_keep_latents(latents),
            ).images
        end_to_end_ms = (time.perf_counter() - started) * 1e3
        return Sample(
            pixels[0].astype(np.float32),
            _to_numpy(latents[-1])[0],
            sum(sum(one.take()) for one in self.text_encoders),
            self.unet.take(),
            sum(self.vae_decoder.take()),
            end_to_end_ms,
        )

    def generate_recorded(self, prompt: str, seed: int, workload: Workload) -> tuple[Sample, tuple[DenoiserCall, ...]]:
        """As `generate`, with what the UNet was asked and answered at each step."""
        with _recording(self.pipe.unet) as calls:
            sample = self.generate(prompt, seed, workload)
        return sample, tuple(calls)

    def predict(self, prompt: str, calls: Sequence[DenoiserCall], workload: Workload) -> FloatArray:
        """(S, G, C, h, w): one call of batch G a step."""
        own = self.conditions(prompt, guided=workload.guidance > 1.0)
        outputs = []
        with torch.inference_mode():
            for call in calls:
                asked = {**call.feeds, **own}
                place = self.device, self.tensors
                feeds: dict[str, Any] = {name: torch.from_numpy(one).to(*place) for name, one in asked.items()}
                is_whole = call.timestep.is_integer()
                feeds["timestep"] = torch.tensor(int(call.timestep) if is_whole else call.timestep)  # as samplers do
                added = {name: feeds.pop(name) for name in _ADDED if name in feeds}
                outputs.append(_to_numpy(self.pipe.unet(**feeds, **({"added_cond_kwargs": added} if added else {}))[0]))
        return np.stack(outputs)

    def conditions(self, prompt: str, *, guided: bool) -> dict[str, FloatArray]:
        """What the text encoders say of the prompt, below what they say of none where the run is `guided` by that.

        By the names of the UNet's inputs, (G, tokens, width) and (G, width).
        """
        both = guided and getattr(self.pipe.unet.config, "time_cond_proj_dim", None) is None
        with torch.inference_mode():
            said = self.pipe.encode_prompt(
                prompt, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=both
            )
            names = ("encoder_hidden_states", "text_embeds")
            pairs = zip(names, zip(said[::2], said[1::2], strict=True), strict=False)
            return {name: _to_numpy(torch.cat([no, yes]) if both else yes) for name, (yes, no) in pairs}

    def _noise(self, generator: torch.Generator, workload: Workload) -> torch.Tensor:
        unet = self.pipe.unet.config
        factor = self.pipe.vae_scale_factor
        height = (workload.height or unet.sample_size * factor) // factor
        width = (workload.width or unet.sample_size * factor) // factor
        noise = torch.randn((1, unet.in_channels, height, width), generator=generator, dtype=torch.float32)
        return noise.to(self.device, self.tensors)

    def _set_scheduler(self, name: str) -> None:
        class_name = _class_of(name, type(self.pipe.scheduler).__name__)
        known = dict(self.pipe.scheduler.config)
        defaults = known.pop("_use_default_values", ())  # of the class so far, which are not the next one's
        config = _UNSTATED | {key: value for key, value in known.items() if key not in defaults}
        algorithm = str(config.get("algorithm_type", ""))
        if algorithm.startswith("sde-"):  # a solver without noise in its steps was asked for
            config["algorithm_type"] = algorithm.removeprefix("sde-")
        self.pipe.scheduler = getattr(diffusers, class_name).from_config(config)


def load(case: Case) -> Baseline:
    """Load a diffusers folder or a single file in the case's precision: "f32" or "bf16" on the CPU, "f16" on the GPU.

    MezzotintError for another precision, and where PyTorch has no GPU.
    """
    from .baseline_pipeline import open_pipeline  # here, as peers' environments lack what it needs

    precision = case.precision or "f32"
    if precision not in _DTYPES:
        raise MezzotintError(f"the baseline computes in {' or '.join(_DTYPES)}, got {precision}")
    device = _device(precision)
    pipe = open_pipeline(case, _DTYPES[precision]).to(device)
    if case.recipe == "compile":
        pipe.unet.forward = torch.compile(pipe.unet.forward)
    return timed(pipe, precision, tensors=precision, device=device)


def _device(precision: str) -> str:
    if precision not in _ON_GPU:
        return "cpu"
    if not torch.cuda.is_available():
        raise MezzotintError("diffusers in FP16 needs an NVIDIA GPU and a PyTorch with CUDA; leave out --fp16")
    return _GPU


def timed(pipe: Any, precision: str, *, tensors: str, device: str = "cpu") -> Baseline:
    """Put stopwatches on a pipeline's components. `tensors` is the dtype of what they are given."""
    encoders = [encoder for name in _TEXT_ENCODERS if (encoder := getattr(pipe, name, None)) is not None]
    wait = torch.cuda.synchronize if device == _GPU else _nothing
    texts = tuple(_Stopwatch(encoder.forward, wait) for encoder in encoders)
    for encoder, watch in zip(encoders, texts, strict=True):
        encoder.forward = watch
    unet, decoder = _Stopwatch(pipe.unet.forward, wait), _Stopwatch(pipe.vae.decode, wait)
    pipe.unet.forward, pipe.vae.decode = unet, decoder
    return Baseline(pipe, precision, _DTYPES[tensors], texts, unet, decoder, device)


def _class_of(sampler: str, current: str) -> str:
    """diffusers' class of a sampler; of a checkpoint in EDM's preconditioning, as its own class says, EDM's."""
    if current.startswith("EDM"):
        return _OF_EDM.get(sampler, current)
    return next(class_name for class_name, name in SCHEDULERS if name == sampler)


@contextmanager
def _noise_in_float32(scheduler: Any) -> Iterator[None]:
    """Whatever a pipeline computes in, its steps add the noise that FP32 draws: in BF16 a generator gives another."""
    module = sys.modules[type(scheduler).__module__]
    draw = getattr(module, "randn_tensor", None)
    if draw is None:  # it adds none
        yield
        return

    def in_float32(*args: Any, dtype: torch.dtype | None = None, **options: Any) -> torch.Tensor:
        noise: torch.Tensor = draw(*args, dtype=torch.float32, **options)
        return noise if dtype is None else noise.to(dtype)

    module.randn_tensor = in_float32  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.randn_tensor = draw  # type: ignore[attr-defined]


def _keep_latents(kept: list[torch.Tensor]) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def keep(_pipe: Any, _index: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        kept[:] = [values["latents"]]
        return values

    return keep


@contextmanager
def _recording(denoiser: Any) -> Iterator[list[DenoiserCall]]:
    """Collect every call of a diffusers model inside the block. Its parameters are called as our graphs' inputs are."""
    calls: list[DenoiserCall] = []
    signature = inspect.signature(type(denoiser).forward)

    def keep(module: Any, arguments: tuple[Any, ...], options: dict[str, Any], outputs: tuple[Any, ...]) -> None:
        feeds = dict(_tensors(signature.bind(module, *arguments, **options).arguments))
        calls.append(DenoiserCall(float(feeds["timestep"]), feeds, _to_numpy(outputs[0])))

    handle = denoiser.register_forward_hook(keep, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def _tensors(arguments: Mapping[str, Any]) -> Iterator[tuple[str, FloatArray]]:
    """The tensors among the arguments, those in a dict of conditions (SDXL has one) by their own names."""
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor):
            yield name, _to_numpy(value)
        elif isinstance(value, Mapping):
            yield from _tensors(value)


def _nothing() -> None:
    """A CPU is done when a call returns."""


def _to_numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy().copy()
    return array
