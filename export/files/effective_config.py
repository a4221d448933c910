"""The config of a scheduler as a bundle has it: *effective*, with what the pipeline's constructor forces on it.

A bundle's reader has no diffusers, so that is written down here.
"""

from collections.abc import Mapping
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.scheduler_config import MOST_TIMESTEPS

from .quiet import quiet

_UNFORCED = ("StableDiffusionXL", "LatentConsistencyModel")  # pipelines that leave the scheduler as it is
_FILE_KEYS = ("_class_name", "_diffusers_version")  # the private keys that say something of the file


def effective_scheduler_config(
    stated: Mapping[str, Any], scheduler_class: str | None, pipeline_class: str
) -> dict[str, Any]:
    """A scheduler's config as the constructor of diffusers' pipeline leaves it.

    The class is the index's where index and file disagree. `steps_offset` and its like are written even where the file
    has none, if the class has them. All other absent keys stay absent: each sampler has its own default for them, as
    with diffusers' `from_config`. Raises MezzotintError for a class that diffusers does not have.
    """
    class_name = scheduler_class or stated.get("_class_name")
    config = {key: value for key, value in public(stated).items() if key != "_class_name"}
    own = _own_scheduler_config(class_name, config)
    if pipeline_class.startswith(_UNFORCED):
        return {**config, "_class_name": class_name}
    settled = {key: own[key] for key in ("clip_sample", "skip_prk_steps") if key in own}
    if own.get("steps_offset", 1) != 1:
        settled["steps_offset"] = 1
    if pipeline_class.endswith("InpaintPipeline"):  # it leaves clip_sample alone, the others skip_prk_steps
        settled |= {key: True for key in ("skip_prk_steps",) if settled.get(key) is False}
    else:
        settled |= {key: False for key in ("clip_sample",) if settled.get(key) is True}
    return {**config, **settled, "_class_name": class_name}


def _own_scheduler_config(class_name: object, config: Mapping[str, Any]) -> Mapping[str, Any]:
    with quiet("diffusers"):
        import diffusers

        kind = getattr(diffusers, class_name, None) if isinstance(class_name, str) else None
        if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
            raise MezzotintError(
                f"the scheduler's class is {class_name!r:.80}, expected one of diffusers' such as DDIMScheduler; "
                "correct model_index.json or scheduler/scheduler_config.json"
            )
        scheduler: Any = kind
        _check_count(config)
        try:
            own: Mapping[str, Any] = scheduler.from_config(dict(config)).config
        except Exception as error:  # its constructor checks what it likes, in any way
            reason = (str(error).strip().splitlines() or [""])[0]
            raise MezzotintError(
                f"scheduler/scheduler_config.json is not accepted by diffusers' {class_name} "
                f"({type(error).__name__}: {reason:.200}); correct it"
            ) from error
    return own


def _check_count(config: Mapping[str, Any]) -> None:
    """Raise MezzotintError for timesteps by which the class would fill the memory with betas."""
    count = config.get("num_train_timesteps")
    if isinstance(count, int | float) and count > MOST_TIMESTEPS:
        raise MezzotintError(
            f"scheduler/scheduler_config.json has num_train_timesteps = {count!r:.40}, expected at most "
            f"{MOST_TIMESTEPS}; correct it"
        )


def public(stated: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the private keys, which say where it was once loaded from."""
    return {key: value for key, value in stated.items() if not key.startswith("_") or key in _FILE_KEYS}
