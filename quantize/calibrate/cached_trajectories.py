"""Trajectories, run once and kept: a calibration that was interrupted, or the next target, goes on where it was."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from mezzotint.arrays import Array
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import fastest_engine
from mezzotint.engines.session import Session
from mezzotint.executor import LOCAL, Executor
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.progress import Progress
from mezzotint.runtime import Bundle, Settings, TextToImage
from mezzotint.runtime.denoiser import Conditions

from .array_cache import cached_arrays, content_key, graph_hashes
from .beginning import FROM_NOISE, Beginning, Begun, clean_image, first_part, hidden_image
from .followed import Followed, control_key, followed_by
from .trajectories import CalibrationSettings, Trajectory, run_trajectory, spread

_TRAJECTORIES = 8  # revisions of what the cached arrays mean
_BEGUN = 1
_DENOISING = (Role.DENOISER, Role.CONTROL, Role.T2I_ADAPTER)


def cached_trajectories(
    bundle: Bundle,
    prompts: Sequence[str],
    settings: CalibrationSettings,
    progress: Progress,
    beginning: Beginning = FROM_NOISE,
    executor: Executor = LOCAL,
) -> tuple[Trajectory, ...]:
    """The trajectories of `prompts`, one cache entry each."""
    parts = _key_parts(bundle, settings)
    chosen = spread(len(prompts), settings.trajectories)
    stride = settings.stride(len(chosen), beginning.at)
    runs = [(prompts[index], settings.of_run(prompts[index], settings.seed + index)) for index in chosen]
    begun = _all_begun(bundle, beginning, [run for _, run in runs], parts, progress)
    load = cache(partial(_load, bundle, [run for _, run in runs]))

    def make(run: Settings, steps: slice, start: Begun, followed: Followed) -> dict[str, Array]:
        pipe, conditions, _held = load()
        sized = _sized(bundle, run)
        assert sized.height is not None and sized.width is not None  # it is sized
        asked, images = followed.settings(run, sized.height, sized.width) if followed.names else (run, ())
        return run_trajectory(pipe, asked, conditions[run.prompt], steps, start, images).pack()

    def trajectory(numbered: tuple[int, tuple[str, Settings]]) -> Trajectory:
        count, (prompt, run) = numbered
        first = count % stride
        followed = followed_by(bundle, count, run.seed)
        key = {**parts, **beginning.key, "prompt": prompt, "seed": run.seed, "steps": (first, stride)}
        key |= {"names": followed.names, **control_key(bundle)} if control_key(bundle) else {}
        slow = partial(make, run, slice(first, None, stride), begun[count], followed)
        arrays = cached_arrays("trajectory", content_key(key), slow)
        return replace(Trajectory.unpack(arrays), followed=followed)

    numbered = list(enumerate(runs))
    done = tuple(executor.map(trajectory, numbered, what="running calibration trajectories", progress=progress))
    load.cache_clear()
    give_back_memory()
    return done


def _key_parts(bundle: Bundle, settings: CalibrationSettings) -> dict[str, Any]:
    schedule: tuple[object, ...] = (settings.scheduler, settings.steps, settings.guidance)
    schedule += () if settings.schedule is None else (settings.schedule,)
    precision = fastest_engine(bundle.component(family_of(bundle).denoiser))[1]
    parts = {"revision": _TRAJECTORIES, "graphs": graph_hashes(bundle), "schedule": schedule, "precision": precision}
    return parts | _asked_size(bundle, settings)


def _asked_size(bundle: Bundle, settings: CalibrationSettings) -> dict[str, Any]:
    """What a size adds to a cache key: nothing where it is the checkpoint's own."""
    geometry = geometry_of(bundle)
    asked, native = geometry.latent_shape(settings.height, settings.width), geometry.latent_shape()
    return {} if asked == native else {"latent_shape": asked}


def _all_begun(
    bundle: Bundle, beginning: Beginning, runs: Sequence[Settings], parts: dict[str, Any], progress: Progress
) -> list[Begun]:
    """What each run begins with; nothing is computed for those that begin with noise alone."""
    if beginning == FROM_NOISE:
        return [Begun()] * len(runs)
    sized = [_sized(bundle, run) for run in runs]
    load = cache(partial(_load, beginning.base or bundle, sized))
    encoder = cache(partial(_load_encoder, bundle))

    def make(run: Settings) -> dict[str, Array]:
        if beginning.base is not None:
            pipe, conditions, _sessions = load()
            return {"noisy": first_part(pipe, run, conditions[run.prompt], beginning.at)}
        pipe, _held = encoder()
        return {"hidden": hidden_image(pipe, run)} if beginning.hides else {"clean": clean_image(pipe, run)}

    begun = []
    for index, run in enumerate(sized):
        progress("beginning calibration runs", index, len(runs))
        key = content_key({**parts, **beginning.key, "revision": _BEGUN, "prompt": run.prompt, "seed": run.seed})
        begun.append(Begun(at=beginning.at, **cached_arrays("begun", key, partial(make, run))))
    load.cache_clear()
    encoder.cache_clear()
    give_back_memory()
    return begun


def _sized(bundle: Bundle, run: Settings) -> Settings:
    """With the size in pixels, which is this bundle's where none was asked for."""
    geometry = geometry_of(bundle)
    _, height, width = geometry.latent_shape(run.height, run.width)
    return replace(run, height=height * geometry.vae_factor, width=width * geometry.vae_factor)


def _load(bundle: Bundle, runs: Sequence[Settings]) -> tuple[TextToImage, dict[str, Conditions], list[Session]]:
    """The pipe, the conditions of every prompt, the denoiser and what leads it, in 16 bits where the engine has them.

    Nothing but where the latents go matters. Text encoders are gone by the time that the denoiser is opened, and it is
    held for all runs: the pipe would open it again for each.
    """
    engine, precision = fastest_engine(bundle.component(family_of(bundle).denoiser))
    precisions = dict.fromkeys(_DENOISING, precision)
    pipe = TextToImage.load(bundle.path, backend=engine.name, precision=precisions, low_memory=True)
    encoders = [pipe.sessions[name] for name in pipe.family.names(Role.TEXT_ENCODER)]  # held likewise
    conditions = {run.prompt: pipe.conditions([run]) for run in runs}
    del encoders
    give_back_memory()
    return pipe, conditions, [pipe.sessions[name] for role in _DENOISING for name in pipe.family.names(role)]


def _load_encoder(bundle: Bundle) -> tuple[TextToImage, Session]:
    """A pipe, and its image encoder, which is held likewise."""
    engine = fastest_engine(bundle.component(family_of(bundle).denoiser))[0]
    pipe = TextToImage.load(bundle.path, backend=engine.name, low_memory=True)
    return pipe, pipe.sessions[pipe.family.names(Role.IMAGE_ENCODER)[0]]
