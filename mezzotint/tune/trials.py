"""What a candidate comes to: images of prompts compared with the reference's, no more of them than the answer needs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mezzotint.benchmarks.metrics.image_metrics import ssim
from mezzotint.bundle.profile import Goal, Promise
from mezzotint.decibel import psnr_db
from mezzotint.progress import Progress, silent

from .candidate import Candidate
from .journal import Figures, Journal
from .judge import TOP1_CONCEPT, Judge
from .prompts import Prompt
from .studio import Studio
from .variants import Variant
from .yardstick import Yardstick, prompt_key

_HOPELESS = 5  # images, none of which reaches the floor: one chance in 32 where half of all would
_FAR_DB = 6.0  # below the floor, where few images of a median at the floor are
_FAR = 2  # images, none of which is nearer


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A candidate, the milliseconds that an image is expected to take, and the figures of those that were made.

    These are "psnr_db", "ssim", "image_ms" and "step_ms", the last of a step on average; with a judge "top1_concept".
    """

    candidate: Candidate
    expected_ms: float
    images: tuple[Figures, ...]

    def median(self, name: str) -> float:
        """Of a figure, over the images."""
        return statistics.median(one[name] for one in self.images)

    def figure(self, name: str) -> float:
        """The median, or of "top1_concept" the share of the images; NaN where it was not asked for."""
        if name != TOP1_CONCEPT:
            return self.median(name)
        return statistics.fmean(one.get(name, math.nan) for one in self.images)

    def keeps(self, promise: Promise) -> bool:
        """Whether the median image does."""
        value = self.median(promise.goal)
        return value <= promise.value if promise.goal is Goal.STEP_MS else value >= promise.value


class Trials:
    """Tries candidates, each image once: what the journal knows is not made again. `made` has the last look at each."""

    def __init__(
        self,
        studio: Studio,
        yardstick: Yardstick,
        journal: Journal,
        expected_ms: Mapping[Candidate, float],
        progress: Progress = silent,
        *,
        judge: Judge | None = None,
    ) -> None:
        self.judge = judge
        self.studio = studio
        self.yardstick = yardstick
        self.journal = journal
        self.expected_ms = expected_ms
        self.progress = progress
        self.made: dict[Candidate, Trial] = {}

    def look(self, candidate: Candidate, prompts: Sequence[Prompt], promise: Promise | None) -> Trial:
        """Images of `prompts`, until it is certain or as good as certain whether the median keeps the promise.

        Without one, of all of them.
        """
        images: list[Figures] = []
        for place, prompt in enumerate(prompts):
            self.progress(f"trying {candidate}", place, len(prompts))
            images.append(self.figures(candidate, prompt))
            if promise is not None and is_settled([one[promise.goal] for one in images], promise, len(prompts)):
                break
        trial = self.trial(candidate, images)
        before = self.made.get(candidate)
        if before is None or len(before.images) <= len(images):
            self.made[candidate] = trial
        return trial

    def trial(self, candidate: Candidate, images: Sequence[Figures]) -> Trial:
        """Of figures that were measured."""
        return Trial(candidate=candidate, expected_ms=self.expected_ms[candidate], images=tuple(images))

    def figures(self, candidate: Candidate, prompt: Prompt, beside: Candidate | None = None) -> Figures:
        """Of one image; its times are of a moment when those of the candidate `beside` were measured too."""
        key = f"{self._key(candidate)} {prompt_key(prompt)}"
        key += "" if beside is None else f" beside {self._key(beside)}"
        known = self.journal.get(key)
        if known is None or (self.judge is not None and TOP1_CONCEPT not in known):
            known = self._measure(candidate, prompt)
            self.journal.put(key, known)
        return known

    def _measure(self, candidate: Candidate, prompt: Prompt) -> Figures:
        made = self.studio.generate(candidate, prompt)
        reference = self.yardstick.images[prompt]
        figures = {
            "psnr_db": psnr_db(reference, made.pixels),
            "ssim": ssim(reference, made.pixels),
            "image_ms": made.image_ms,
            "step_ms": made.step_ms,
        }
        return figures if self.judge is None else {**figures, TOP1_CONCEPT: self.judge(prompt[0], made.pixels)}

    def _key(self, candidate: Candidate) -> str:
        return image_key(self.studio.variants[candidate.variant], candidate)


def image_key(variant: Variant, candidate: Candidate) -> str:
    """What decides an image besides its prompt."""
    cached = "" if candidate.cache_interval == 1 else f" whole every {candidate.cache_interval}"
    return f"{variant.graphs_sha256[:16]} {candidate.sampler} {candidate.steps} {candidate.guided_part:g}{cached}"


def is_settled(values: Sequence[float], promise: Promise, count: int) -> bool:
    """Whether the median of `count` values, of which these are the first, keeps the promise or cannot any more.

    Times are never settled early. Of fidelity, five values none of which reaches the floor are taken to speak for all,
    and two that are 6 dB below it.
    """
    if promise.goal is Goal.STEP_MS:
        return False
    above = sum(value >= promise.value for value in values)
    below = len(values) - above
    is_far = promise.goal is Goal.PSNR_DB and max(values) < promise.value - _FAR_DB
    enough = _FAR if is_far else _HOPELESS
    return above > count / 2 or below > count / 2 or (above == 0 and below >= min(enough, count))
