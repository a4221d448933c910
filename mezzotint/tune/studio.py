"""Images and times of candidates: a pipeline for each variant, of which the last two that were used stay loaded."""

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.precision import Compute
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import choose_engine, reference_engine
from mezzotint.runtime import Result, TextToImage

from .calls import CallTimes
from .candidate import Candidate, own_candidate
from .prompts import Prompt
from .variants import Variant
from .yardstick import Make

_LOADED = 2  # pipelines: a candidate and what it is timed in turn with
_TIMED_STEPS = 4  # of a run whose calls are timed: half of them guided
_WARM_UP: Prompt = ("a warm-up", 0)


@dataclass(frozen=True, kw_only=True)
class Made:
    """An image's `pixels` (H, W, 3) in [0, 1], and milliseconds: from prompt to pixels, and of a step on average."""

    pixels: FloatArray
    image_ms: float
    step_ms: float


class Studio:
    """Generates with `variants`; what a candidate does not say is as in `own`. Close it, or use it in a `with`.

    `has_negative` says whether runs have a negative half.
    """

    def __init__(
        self, variants: Mapping[str, Variant], own: Defaults, *, has_negative: bool, threads: int | None = None
    ) -> None:
        self.variants = variants
        self.own = own
        self.has_negative = has_negative
        self.threads = threads
        self._loaded: dict[str, TextToImage] = {}

    def __enter__(self) -> "Studio":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all graphs."""
        for pipe in self._loaded.values():
            pipe.close()
        self._loaded.clear()

    def generate(self, candidate: Candidate, prompt: Prompt) -> Made:
        """One image. Raises MezzotintError where an engine cannot run the variant's graphs."""
        result = _run(self._pipe(candidate.variant), candidate, self.own, prompt)
        calls_ms = sum(result.timings.unet_step_ms)
        return Made(pixels=result.pixels[0], image_ms=result.timings.total_ms, step_ms=calls_ms / candidate.steps)

    def time_calls(self, variant: str, prompt: Prompt) -> CallTimes:
        """Of a short run whose first half is guided."""
        pipe = self._pipe(variant)
        timings = self._half_guided(pipe, prompt).timings
        calls = timings.unet_step_ms
        half = max(1, len(calls) // 2)
        whole = CallTimes(
            guided_ms=statistics.median(calls[:half]),
            plain_ms=statistics.median(calls[-half:]),
            rest_ms=timings.total_ms - sum(calls),
        )
        if not self.variants[variant].has_shallow:
            return whole
        calls = self._half_guided(pipe, prompt, cache_interval=len(calls) + 1).timings.unet_step_ms[1:]
        return replace(
            whole,
            shallow_guided_ms=statistics.median(calls[: max(1, half - 1)]),
            shallow_plain_ms=statistics.median(calls[-half:]),
        )

    def _pipe(self, variant: str) -> TextToImage:
        """Loaded, and warm at the sizes of guided and plain calls."""
        pipe = self._loaded.pop(variant, None)
        if pipe is None:
            while len(self._loaded) >= _LOADED:
                oldest = next(iter(self._loaded))
                self._loaded.pop(oldest).close()
            pipe = TextToImage.load(self.variants[variant].bundle.path, threads=self.threads)
            self._half_guided(pipe, _WARM_UP)
            if self.variants[variant].has_shallow:
                self._half_guided(pipe, _WARM_UP, cache_interval=2)
        self._loaded[variant] = pipe  # the last one used is the last
        return pipe

    def _half_guided(self, pipe: TextToImage, prompt: Prompt, cache_interval: int = 1) -> Result:
        part = 0.5 if self.has_negative else 1.0
        short = Candidate(variant="", sampler=self.own.sampler or "", steps=_TIMED_STEPS, guided_part=part)
        return _run(pipe, replace(short, cache_interval=cache_interval), self.own, prompt)


@contextmanager
def float32_maker(reference: Bundle, like: Bundle, own: Defaults, threads: int | None) -> Iterator[Make]:
    """Makes images of `reference` in FP32, on the engine of `like` where that computes in it."""
    engine = choose_engine(like.manifest, "auto").engine
    name = engine.name if Compute.F32 in engine.precisions() else reference_engine("the reference's images").name
    whole = own_candidate("", own)
    with TextToImage.load(reference.path, backend=name, precision=Compute.F32, threads=threads) as pipe:
        yield lambda prompt: _run(pipe, whole, own, prompt).pixels[0]
    give_back_memory()


@contextmanager
def own_maker(studio: Studio, variant: str) -> Iterator[Make]:
    """Makes images of a variant at the model's own settings, where there is nothing else to compare with."""
    whole = own_candidate(variant, studio.own)
    yield lambda prompt: studio.generate(whole, prompt).pixels


def _run(pipe: TextToImage, candidate: Candidate, own: Defaults, prompt: Prompt) -> Result:
    text, seed = prompt
    return pipe(
        text if pipe.family.texts else "",
        seed=seed,
        scheduler=candidate.sampler,
        steps=candidate.steps,
        guidance=own.guidance,
        guidance_interval=None if candidate.guided_part == 1.0 else (0.0, candidate.guided_part),
        cache_interval=candidate.cache_interval,
    )
