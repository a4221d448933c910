"""From candidates to the one that is chosen: variants are timed and ranked, the search runs, other prompts confirm."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.profile import Goal, Promise
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress, silent

from .calls import CallTimes
from .candidate import Candidate, own_candidate
from .journal import Figures
from .prompts import Prompt, Split
from .search import fastest, most_faithful
from .trials import Trial, Trials, is_settled
from .variants import Variant

_TIMING_ROUNDS = 5
_RANKED_ON = 5  # images


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which of `candidates` is the best that keeps the promise.

    `own` are the model's settings, and `own_variant` is the bundle's own graphs.
    """

    candidates: tuple[Candidate, ...]
    promise: Promise
    split: Split
    own: Defaults
    own_variant: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """The chosen candidate and the bundle's own settings, both with the images of the prompts that confirm."""

    chosen: Trial
    own: Trial


def time_variants(
    trials: Trials, variants: Mapping[str, Variant], prompt: Prompt, progress: Progress = silent
) -> dict[str, CallTimes]:
    """Of each, the calls that runs consist of: medians of rounds in which they take turns."""
    keys = {name: f"calls {one.graphs_sha256[:16]}" for name, one in variants.items()}
    known = {name: trials.journal.get(key) for name, key in keys.items()}
    missing = [name for name, figures in known.items() if figures is None]
    rounds: dict[str, list[CallTimes]] = {name: [] for name in missing}
    for turn in range(_TIMING_ROUNDS):
        for place, name in enumerate(missing):
            progress("timing calls", turn * len(missing) + place, _TIMING_ROUNDS * len(missing))
            rounds[name].append(trials.studio.time_calls(name, prompt))
    for name, times in rounds.items():
        parts = tuple(part.name for part in fields(CallTimes))
        known[name] = {part: statistics.median(getattr(one, part) for one in times) for part in parts}
        trials.journal.put(keys[name], known[name] or {})
    return {name: CallTimes(**figures) for name, figures in known.items() if figures is not None}


def rank_variants(trials: Trials, question: Question, variants: Sequence[str]) -> dict[str, int]:
    """The place of each variant, the most faithful first, by a few images of the model's own settings."""
    few = question.split.search[:_RANKED_ON]
    medians = {name: trials.look(own_candidate(name, question.own), few, None).median("psnr_db") for name in variants}
    return {name: place for place, name in enumerate(sorted(variants, key=lambda name: -medians[name]))}


def find(trials: Trials, question: Question, ranks: Mapping[str, int], step_ms: Mapping[Candidate, float]) -> Found:
    """The best candidate whose promise other prompts confirm; `step_ms` is what a step is expected to take.

    MezzotintError, which says what can be had, where there is none.
    """
    left = list(question.candidates)
    while left:
        pick = _pick(trials, question, left, ranks, step_ms)
        if pick is None:
            break
        found = _confirm(trials, question, pick)
        if found is not None:
            return found
        left = [one for one in left if not one.is_weaker(pick, ranks)]
    raise _nothing(trials, question, step_ms)


def _pick(
    trials: Trials,
    question: Question,
    left: Sequence[Candidate],
    ranks: Mapping[str, int],
    step_ms: Mapping[Candidate, float],
) -> Candidate | None:
    promise, prompts = question.promise, question.split.search
    if promise.goal is not Goal.STEP_MS:
        return fastest(left, trials.expected_ms, ranks, lambda one: trials.look(one, prompts, promise).keeps(promise))
    quick = [one for one in left if step_ms[one] <= promise.value]
    looked = [trials.look(one, prompts, None) for one in most_faithful(quick, ranks)]
    best = max(looked, key=lambda trial: (trial.median("psnr_db"), -trial.expected_ms), default=None)
    return None if best is None else best.candidate


def _confirm(trials: Trials, question: Question, pick: Candidate) -> Found | None:
    """Images of the prompts that nothing was chosen by, in turn with the bundle's own; None where they say no."""
    prompts, promise = question.split.confirm, question.promise
    own = own_candidate(question.own_variant, question.own)
    trials.yardstick.prepare(prompts, trials.progress)
    images: list[Figures] = []
    others: list[Figures] = []
    for place, prompt in enumerate(prompts):
        trials.progress(f"confirming {pick}", place, len(prompts))
        if place % 2 == 0:  # neither is always the one that comes after a change of graphs
            images.append(trials.figures(pick, prompt))
        others.append(trials.figures(own, prompt, beside=pick))
        if place % 2 == 1:
            images.append(trials.figures(pick, prompt))
        trial = trials.trial(pick, images)
        if is_settled([one[promise.goal] for one in images], promise, len(prompts)) and not trial.keeps(promise):
            return None
    return Found(chosen=trial, own=trials.trial(own, others)) if trial.keeps(promise) else None


def _nothing(trials: Trials, question: Question, step_ms: Mapping[Candidate, float]) -> MezzotintError:
    promise = question.promise
    if promise.goal is Goal.STEP_MS:
        best = min(step_ms, key=lambda one: step_ms[one])
        return MezzotintError(
            f"no settings have a step of {promise.value:g} ms or less: the fastest take about {step_ms[best]:.3g} ms "
            f"({best}); raise the limit, or give faster graphs with --with or --make"
        )
    enough = min(_RANKED_ON, len(question.split.search))
    seen = [trial for trial in trials.made.values() if len(trial.images) >= enough]
    best_seen = max(seen, key=lambda trial: trial.median(promise.goal))
    reached = fidelity_text(promise.goal, best_seen.median(promise.goal))
    return MezzotintError(
        f"no settings keep {fidelity_text(promise.goal, promise.value)}: the most faithful that was tried reaches "
        f"{reached} ({best_seen.candidate}); lower the floor, or give graphs that are closer with --with or --make"
    )


def fidelity_text(goal: Goal, value: float) -> str:
    """ "35.2 dB", or "SSIM 0.981"."""
    return f"{value:.1f} dB" if goal is Goal.PSNR_DB else f"SSIM {value:.4f}"
