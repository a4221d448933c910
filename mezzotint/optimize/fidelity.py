"""A short look at what a quantization cost: a few images against those of the FP32 graphs, and the seconds of a step.

It tells a quantization that failed from one that did not. For figures to quote there is `mezzotint benchmark`, with
more prompts, repeated rounds and intervals.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import psnr_db
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import choose_engine, reference_engine
from mezzotint.progress import Progress, silent
from mezzotint.quantize.calibrate.trajectories import spread
from mezzotint.runtime import TextToImage

FIRST_SEED = 1000
_REFERENCE, _QUANTIZED = "images of the FP32 graphs", "images of the quantized graphs"


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Of images in [0, 1], one a prompt; infinite PSNR when identical. Times are medians of denoiser steps.

    `float32_step_ms` is that of the FP32 graphs on the same engine; None where it does not compute in FP32.
    """

    prompts: tuple[str, ...]
    psnr_db: tuple[float, ...]
    step_ms: float
    float32_step_ms: float | None

    @property
    def median_psnr_db(self) -> float:
        """Over the prompts."""
        return statistics.median(self.psnr_db)


def held_out(prompts: Sequence[str], used: int, wanted: int) -> tuple[str, ...]:
    """`wanted` of the prompts, evenly spread, of those that a calibration with `used` of them does not see.

    Where it sees nearly all of them, some that it has seen.
    """
    seen = set(spread(len(prompts), min(used, len(prompts))))
    unseen = [prompt for index, prompt in enumerate(prompts) if index not in seen]
    pool = unseen if len(unseen) >= wanted else prompts
    return tuple(pool[index] for index in spread(len(pool), min(wanted, len(pool))))


def compare_images(
    reference: Bundle, quantized: Bundle, prompts: Sequence[str], *, backend: str, progress: Progress = silent
) -> Fidelity:
    """Generate an image of each prompt with either bundle, as the bundle's defaults say, on the engine `backend`.

    The two are loaded one after the other. An engine that does not compute in FP32 leaves the reference to the one that
    graphs are checked with. Raises MezzotintError where an engine cannot run one of them.
    """
    is_own = Compute.F32 in choose_engine(quantized.manifest, backend).engine.precisions()
    engine = backend if is_own else reference_engine("the FP32 images").name
    expected, float32_ms = _generate(reference, prompts, engine, Compute.F32, _REFERENCE, progress)
    got, own_ms = _generate(quantized, prompts, backend, None, _QUANTIZED, progress)
    return Fidelity(
        prompts=tuple(prompts),
        psnr_db=tuple(psnr_db(wanted, image) for wanted, image in zip(expected, got, strict=True)),
        step_ms=own_ms,
        float32_step_ms=float32_ms if is_own else None,
    )


def _generate(
    bundle: Bundle,
    prompts: Sequence[str],
    backend: str,
    precision: Compute | None,
    what: str,
    progress: Progress,
) -> tuple[list[FloatArray], float]:
    """An image of each prompt, and the median milliseconds of a step, without the first, which compiles."""
    images: list[FloatArray] = []
    steps_ms: list[float] = []
    with TextToImage.load(bundle.path, backend=backend, precision=precision) as pipe:
        for index, prompt in enumerate(prompts):
            progress(what, index, len(prompts))
            result = pipe(prompt if pipe.family.texts else "", seed=FIRST_SEED + index)
            images.append(result.pixels[0])
            steps_ms += result.timings.unet_step_ms
    give_back_memory()
    return images, statistics.median(steps_ms[1:] or steps_ms)
