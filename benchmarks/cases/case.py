"""What is compared, and the contract of this folder.

A *case* is one way of generating the workload's images: the diffusers baseline, or one bundle on one engine. Loaded, it
is a *subject*, which does two things. It generates an image, and it answers single calls of the denoiser:

    Case  --load-->  Subject  --generate-->     Sample              speed, memory, images
                              --predict-->  denoiser outputs    teacher-forced fidelity

Everything that is measured comes from these two. Every measurement runs in a fresh process (`isolate`, `worker`), which
leaves a file behind; figures are made from the files (`rows`), pages from the figures (`report`).

Adding a kind of case costs a file with `load(case) -> Subject`, a line in `subjects.KINDS` and a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mezzotint.arrays import FloatArray
from mezzotint.runtime.denoiser_calls import DenoiserCall

from .workload import Workload

Kind = Literal["baseline", "bundle", "stand-in", "optimum", "genai"]
Role = Literal["reference", "control", "bundle", "attribution", "peer"]

REFERENCE = "diffusers-fp32"
"""The name of the case that all others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a checkpoint's files are read, where they do not say it themselves: as they were for the bundles.

    `config` is a folder of configs for a single file, `weights` "ema" or "plain"; the others are as in `export`.
    `adapter` is a LoRA or its like, with these bytes, that is in the weights at `adapter_scale`; of a bundle with live
    adapters, the one that calls ask for.
    """

    config: str | None = None
    weights: str | None = None
    prediction_type: str | None = None
    preset: str | None = None
    adapter: str | None = None
    adapter_sha256: str = ""
    adapter_scale: float = 1.0


@dataclass(frozen=True)
class Case:
    """One way of generating. `name` is recipe-backend ("int8-openvino"); `source` is the path as the user gave it.

    `precision` is the compute precision to ask for ("f32", "bf16"); None takes what the bundle states. A `seed_offset`
    other than 0 generates other images on purpose: the ceiling control, which is neither timed nor teacher-forced.
    `quantized` names the components that a mixture took from a quantized bundle; its others are FP32. A peer is
    somebody else's work; `python` is its environment's interpreter, None for this one, and `refusal` why it cannot run.
    `reading` is the baseline's. `profile` names one of the bundle's, whose settings then take the workload's place.
    With a `cache_interval` a bundle's denoiser is whole in every so manieth call alone (DeepCache).
    A stand-in is a bundle for a GPU whose graphs a CPU engine computes, rounding as the GPU would: fidelity alone.
    """

    name: str
    kind: Kind
    source: str
    backend: str
    recipe: str
    precision: str | None = None
    seed_offset: int = 0
    quantized: tuple[str, ...] = ()
    is_peer: bool = False
    python: str | None = None
    refusal: str | None = None
    reading: Reading = Reading()
    profile: str | None = None
    cache_interval: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether its settings are the workload's, and nothing is skipped."""
        return self.profile is None and self.cache_interval is None

    @property
    def role(self) -> Role:
        """What the row is there for."""
        if self.is_peer:
            return "peer"
        if self.quantized:
            return "attribution"
        if self.kind in ("bundle", "stand-in"):
            return "bundle"
        return "reference" if self.name == REFERENCE else "control"

    @property
    def is_timed(self) -> bool:
        """Whether its speed and memory say anything that no other row says."""
        return self.seed_offset == 0 and not self.quantized and self.kind != "stand-in"


@dataclass(frozen=True, eq=False)
class Sample:
    """One image, and the wall time of each part in milliseconds. `unet_step_ms`: one guided call (batch 2) a step."""

    pixels: FloatArray  # (H, W, 3) in [0, 1], before rounding to 8 bits
    latents: FloatArray | None  # (4, h, w), final; None where a peer keeps them to itself
    text_encoder_ms: float
    unet_step_ms: tuple[float, ...]
    vae_decoder_ms: float
    end_to_end_ms: float


class Subject(Protocol):
    """A loaded case."""

    @property
    def precision(self) -> str:
        """The denoiser's compute precision: "f32", "bf16" or "f16"."""
        ...

    def generate(self, prompt: str, seed: int, workload: Workload) -> Sample:
        """One image at the workload's steps, guidance, scheduler and size."""
        ...

    def predict(self, prompt: str, calls: Sequence[DenoiserCall], workload: Workload) -> FloatArray | None:
        """The denoiser's answers (S, G, C, h, w) to S `calls`, with what this subject's own text encoder says.

        G = 2 halves (negative, positive), 1 unguided. None where a peer does not let its denoiser be called alone.
        """
        ...


class RecordingSubject(Subject, Protocol):
    """A subject that can also say what its denoiser was asked: the reference is one."""

    def generate_recorded(self, prompt: str, seed: int, workload: Workload) -> tuple[Sample, tuple[DenoiserCall, ...]]:
        """As `generate`, with every call of the denoiser."""
        ...
