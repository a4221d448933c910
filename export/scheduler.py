"""What a checkpoint's scheduler_config.json means for a bundle: which samplers can run it, and what it runs with."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.presets import find_preset
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler
from mezzotint.runtime.samplers.noise_levels import EDM_SAMPLERS
from mezzotint.runtime.samplers.sampler import Sampler
from mezzotint.runtime.samplers.scheduler_config import FLOW_PREDICTION, SchedulerConfig
from mezzotint.runtime.samplers.spacing import check_spacing, spacing_options

from .files.json_file import write_object

_STEP_COUNTS = (10, 4, 1)  # a sampler that takes none of them is of no use


class SamplerWarning(UserWarning):
    """Some samplers, or the checkpoint's own, cannot run a bundle."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the bundle is to run with, where it is not what the checkpoint's files say.

    `preset` names what a distilled checkpoint runs with (mezzotint/bundle/presets.py); what else is chosen stands over
    it. `prediction_type` is what the denoiser predicts, where the checkpoint says nothing of it, or says it wrongly.
    """

    scheduler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    schedule: str | None = None  # the spacing of noise levels, one of SPACINGS: written into scheduler_config.json
    preset: str | None = None
    prediction_type: str | None = None

    def settings(self, own_guidance: float | None = None) -> dict[str, Any]:
        """Sampler, steps and guidance as far as they were chosen, or the model has its own guidance.

        A model that is told the scale has one whatever the preset says, which is for those that were not.
        Raises MezzotintError for an unknown sampler or preset.
        """
        preset = None if self.preset is None else find_preset(self.preset)
        usual = {} if preset is None else {"steps": preset.steps, "guidance": preset.guidance}
        usual |= {} if own_guidance is None else {"guidance": own_guidance}
        sampler = None if self.scheduler is None else find_sampler(self.scheduler).name
        given = {"sampler": sampler, "steps": self.steps, "guidance": self.guidance}
        told = {name: value for name, value in given.items() if value is not None}
        return {**usual, **told}


def defaults_of(path: Path, chosen: Chosen, own_guidance: float | None = None) -> Defaults:
    """What a bundle with this scheduler_config.json runs with, after every sampler was tried on it.

    `own_guidance` is the model's, if it has one. A spacing that was chosen is written into the file. Raises
    MezzotintError for a file that no sampler can be right with, for an unknown sampler, and for a spacing or a number
    of steps that the bundle's sampler does not have. Warns where the checkpoint's own is not here or cannot run, and
    which others the file rules out.
    """
    options = _read(path)
    defaults = replace(Defaults.of_scheduler(options), **chosen.settings(own_guidance))
    if chosen.schedule is not None:
        options = _respaced(path, options, chosen.schedule, defaults)
    config = SchedulerConfig.from_dict(options)
    runnable_samplers(config)
    refusals = _refusals(config)
    if chosen.steps is not None and defaults.sampler is not None and defaults.sampler not in refusals:
        find_sampler(defaults.sampler).schedule(config, chosen.steps)  # which refuses what it cannot make
    _warn_of_refusals(defaults, refusals)
    return defaults


def _read(path: Path) -> dict[str, object]:
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MezzotintError(f"{path.name} cannot be read as JSON ({error}); get the checkpoint's file again") from None
    if not isinstance(options, dict):
        raise MezzotintError(f"{path.name} holds {type(options).__name__}, expected an object; get the file again")
    return options


def _respaced(path: Path, options: Mapping[str, object], schedule: str, defaults: Defaults) -> dict[str, object]:
    """The file's options with the spacing `schedule`, written back; switches that it never had are not added."""
    if defaults.sampler is not None:
        check_spacing(defaults.sampler, schedule, find_sampler(defaults.sampler).spacings)
    chosen = spacing_options(SchedulerConfig.from_dict(options), schedule)
    respaced = {**options, **{name: value for name, value in chosen.items() if value is not False or name in options}}
    write_object(path, respaced)
    return respaced


def _warn_of_refusals(defaults: Defaults, refusals: Mapping[str, str]) -> None:
    if defaults.sampler is None:
        _warn(
            f"the checkpoint's own sampler is diffusers' {defaults.scheduler_class}, which is not here; generate with "
            "--scheduler, or export with one"
        )
    elif defaults.sampler in refusals:
        _warn(f"the sampler that the bundle is to run with cannot run: {refusals[defaults.sampler]}")
    others = sorted(set(refusals) - {defaults.sampler})
    if others:
        _warn(f"samplers that cannot run this checkpoint: {', '.join(others)} ({refusals[others[0]]})")


def runnable_samplers(config: SchedulerConfig) -> list[str]:
    """The samplers that can run a model with this config; MezzotintError says why where there is none."""
    refusals = _refusals(config)
    names = [sampler.name for sampler in _of_its_training(config) if sampler.name not in refusals]
    if not names:
        raise MezzotintError(f"no sampler runs with scheduler_config.json; {next(iter(refusals.values()), '')}")
    return names


def _refusals(config: SchedulerConfig) -> dict[str, str]:
    """Why samplers for this kind of training refuse the file, by name."""
    refusals = {sampler.name: _refusal(sampler, config) for sampler in _of_its_training(config)}
    return {name: reason for name, reason in refusals.items() if reason is not None}


def _of_its_training(config: SchedulerConfig) -> list[Sampler]:
    """Those for flow matching, for EDM, or for models trained on betas."""
    if config.sigma_data is not None:
        return [sampler for sampler in SAMPLERS if sampler.name in EDM_SAMPLERS]
    is_flow = config.prediction_type == FLOW_PREDICTION
    return [sampler for sampler in SAMPLERS if (sampler.name == "flow-euler") == is_flow]


def _refusal(sampler: Sampler, config: SchedulerConfig) -> str | None:
    """Why the sampler can run no number of steps; the reason of the first that was tried."""
    reason = None
    for steps in _STEP_COUNTS:
        try:
            sampler.schedule(config, steps)
        except MezzotintError as error:
            reason = reason or str(error)
        else:
            return None
    return reason


def _warn(message: str) -> None:
    warnings.warn(message, SamplerWarning, stacklevel=4)
