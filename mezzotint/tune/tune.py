"""`mezzotint tune`: search, confirm on other prompts, and write what was found into the bundle."""

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.profile import Confirmed, Goal, Profile, Promise
from mezzotint.engines.cpu import cpu_model
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Guidance
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.progress import Progress, silent
from mezzotint.runtime import OutsideCalibrationWarning
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig

from .calls import CallCounter
from .candidate import Candidate, candidates_of
from .find import Found, Question, find, rank_variants, time_variants
from .judge import Judge, open_judge
from .making import Making, default_makings, float32_bundle, make_variants
from .prompts import Split, split_prompts
from .store import add_profile, check_profile
from .studio import Studio, float32_maker, own_maker
from .trials import Trial, Trials
from .variants import Variant, check_same_weights, variants_of
from .workspace import Workspace, open_workspace
from .yardstick import Yardstick


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to find, and for which bundle.

    With `weights`, a folder that has a gallery of training images, images are also asked what they show.
    `checkpoint` is what to compare with and to make graphs of by `makings` (None: those that are made by default), a
    checkpoint or its FP32 bundle; without one images are compared with the bundle's own. `others` are bundles of the
    same weights whose graphs may be taken. `search` and `confirm` count prompts.
    """

    bundle: Path
    promise: Promise
    prompts: tuple[str, ...]
    name: str = "fast"
    checkpoint: str | None = None
    makings: tuple[Making, ...] | None = None
    others: tuple[Path, ...] = ()
    search: int = 24
    confirm: int = 32
    threads: int | None = None
    weights: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The bundle with its new profile, and what was measured: all that was tried, and the prompts that confirmed."""

    bundle: Bundle
    name: str
    profile: Profile
    trials: tuple[Trial, ...]
    found: Found


def tune_bundle(request: Request, *, progress: Progress = silent) -> Tuned:
    """Find the settings of `request`, confirm them, and write them into the bundle as a profile.

    What was measured is kept in the user's cache folder: after a kill, and for another promise, only what is new is
    measured. Raises MezzotintError for unusable input, and where nothing keeps the promise; the bundle is then as it
    was.
    """
    with ExitStack() as stack:
        job = _Job.open(request, stack, progress)
        with _measured_warnings():
            trials, found = _search(job, progress)
        return _stored(job, trials, found)


def _stored(job: "_Job", trials: tuple[Trial, ...], found: Found) -> Tuned:
    chosen = found.chosen.candidate
    profile = Profile(
        settings=chosen.settings(job.own),
        promise=job.request.promise,
        confirmed=_confirmed(job, found),
        variant=None if job.variants[chosen.variant].is_own else chosen.variant,
    )
    bundle = add_profile(job.bundle, job.request.name, profile, job.variants[chosen.variant])
    return Tuned(bundle=bundle, name=job.request.name, profile=profile, trials=trials, found=found)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A request, read and found usable."""

    request: Request
    bundle: Bundle
    reference: Bundle
    variants: Mapping[str, Variant]
    split: Split
    own: Defaults
    judge: Judge | None

    @classmethod
    def open(cls, request: Request, stack: ExitStack, progress: Progress) -> "_Job":
        """What can be refused is refused before anything is made."""
        bundle = Bundle.open(request.bundle)
        check_profile(bundle, request.name, overwrite=request.overwrite)
        _check_promise(request.promise)
        _refuse_other_kinds(bundle)
        split = split_prompts(request.prompts, request.search, request.confirm)
        judge = None if request.weights is None else open_judge(request.weights, (*split.search, *split.confirm))
        variants_of(bundle, request.others)
        reference, made = _made(bundle, request, split, stack, progress)
        return cls(
            request=request,
            bundle=bundle,
            reference=reference,
            variants={one.name: one for one in variants_of(bundle, (*request.others, *made))},
            split=split,
            own=bundle.defaults(),
            judge=judge,
        )

    @property
    def is_float32(self) -> bool:
        """Whether images are compared with FP32's, and not with the bundle's own."""
        return self.reference is not self.bundle

    @property
    def own_variant(self) -> str:
        """The name of the bundle's own graphs."""
        return next(name for name, one in self.variants.items() if one.is_own)

    @property
    def has_negative(self) -> bool:
        """Whether the family's runs have a negative half, where guidance is on."""
        return family_of(self.bundle).guidance is Guidance.CFG and self.own.guidance > 1.0

    @property
    def cores(self) -> int:
        """That compute."""
        if self.request.threads is not None:
            return self.request.threads
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def yardstick(self, workspace: Workspace, studio: Studio) -> Yardstick:
        """What to compare with."""
        maker = (
            partial(float32_maker, self.reference, self.bundle, self.own, self.request.threads)
            if self.is_float32
            else partial(own_maker, studio, self.own_variant)
        )
        return Yardstick(workspace.folder, maker)


def _made(
    bundle: Bundle, request: Request, split: Split, stack: ExitStack, progress: Progress
) -> tuple[Bundle, tuple[Path, ...]]:
    """What to compare with, and graphs that are made of it; calibrated on none of the prompts that confirm."""
    if request.checkpoint is None:
        if request.makings:
            raise MezzotintError(what="graphs are made of a checkpoint", advice="pass --checkpoint as well as --make")
        return bundle, ()
    source = stack.enter_context(float32_bundle(request.checkpoint, progress))
    check_same_weights(bundle, source)
    target = bundle.manifest.target
    makings = default_makings(bundle) if request.makings is None else request.makings
    confirming = {text for text, _ in split.confirm}
    texts = [text for text in request.prompts if text not in confirming]
    return source, make_variants(source, target, makings, texts, progress)


def _search(job: _Job, progress: Progress) -> tuple[tuple[Trial, ...], Found]:
    config = SchedulerConfig.from_dict(job.bundle.config("scheduler/scheduler_config.json"))
    goal = job.request.promise.goal
    cached = [name for name, one in job.variants.items() if one.has_shallow]
    candidates = candidates_of(tuple(job.variants), job.own, config, family_of(job.bundle), goal, cached=cached)
    question = Question(
        candidates=tuple(candidates),
        promise=job.request.promise,
        split=job.split,
        own=job.own,
        own_variant=job.own_variant,
    )
    with (
        open_workspace(job.bundle, job.reference, is_float32=job.is_float32, cores=job.cores) as workspace,
        Studio(job.variants, job.own, has_negative=job.has_negative, threads=job.request.threads) as studio,
    ):
        expected_ms: dict[Candidate, float] = {}
        yardstick = job.yardstick(workspace, studio)
        trials = Trials(studio, yardstick, workspace.journal, expected_ms, progress, judge=job.judge)
        times = time_variants(trials, job.variants, job.split.search[0], progress)
        count = CallCounter(job.own, config, has_negative=job.has_negative)
        calls = {one: count(one) for one in candidates}
        expected_ms.update({one: times[one.variant].image_ms(calls[one]) for one in candidates})
        step_ms = {one: times[one.variant].run_ms(calls[one]) / one.steps for one in candidates}
        trials.yardstick.prepare(job.split.search, progress)
        ranks = rank_variants(trials, question, tuple(job.variants))
        found = find(trials, question, ranks, step_ms)
        return tuple(trials.made.values()), found


def _confirmed(job: _Job, found: Found) -> Confirmed:
    chosen, own = found.chosen, found.own
    psnr_db, image_ms = chosen.median("psnr_db"), chosen.median("image_ms")
    is_same = chosen.candidate == own.candidate
    return Confirmed(
        against=f"{_graphs_text(job)}, {job.own.sampler}, {job.own.steps} steps, guidance {job.own.guidance:g}",
        prompts=len(chosen.images),
        psnr_db=round(psnr_db, 2) if math.isfinite(psnr_db) else None,
        ssim=round(chosen.median("ssim"), 5),
        image_ms=round(image_ms, 2),
        step_ms=round(chosen.median("step_ms"), 3),
        speed_up=1.0 if is_same else round(own.median("image_ms") / image_ms, 3),
        cpu=cpu_model(),
        cores=job.cores,
    )


def _graphs_text(job: _Job) -> str:
    return f"{job.reference.manifest.source.name} in FP32" if job.is_float32 else "the bundle's own graphs"


def _check_promise(promise: Promise) -> None:
    most = 1.0 if promise.goal is Goal.SSIM else math.inf
    if not 0.0 < promise.value <= most or not math.isfinite(promise.value):
        raise MezzotintError(
            what=f"the value of {promise.goal}",
            got=promise.value,
            expected="above 0 and at most 1" if promise.goal is Goal.SSIM else "a number above 0",
        )


def _refuse_other_kinds(bundle: Bundle) -> None:
    geometry = geometry_of(bundle)
    if geometry.unet_channels != geometry.latent_channels:
        raise MezzotintError(
            where=bundle.path, what="its denoiser was made to inpaint, and images of a prompt alone say nothing of it"
        )
    if family_of(bundle).begins_at(bundle.config):
        raise MezzotintError(
            where=bundle.path,
            what="its denoiser finishes what another one begins, and images of a prompt alone say nothing of it",
        )


@contextmanager
def _measured_warnings() -> Iterator[None]:
    """Without the warning that candidates leave the calibration: what that costs is what is measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideCalibrationWarning)
        yield
