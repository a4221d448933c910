"""Schedules that a call chooses by name: trajectories equal diffusers' with the option, or the name is refused."""

from typing import Any

import pytest

from mezzotint.bundle.defaults import Defaults
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.sampler import Sampler
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.samplers.spacing import OF_LEVELS, OF_TIMESTEPS, SPACINGS, with_spacing
from tests.runtime.scheduler_oracle import BETA_ORACLES, ORACLES, assert_same_trajectory, ddim_config

OWN = Defaults(sampler="ddim", scheduler_class="DDIMScheduler")
LEVELS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}
TIMESTEPS = {"sgm_uniform": "trailing", "trailing": "trailing", "leading": "leading", "linspace": "linspace"}
RESPACED = {"lms", "euler", "heun", "dpmpp-2m", "dpmpp-2m-sde", "dpmpp-2s", "unipc", "deis", "flow-euler"}
FILES: tuple[dict[str, Any], ...] = (
    {"timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "trailing", "use_beta_sigmas": True, "use_lu_lambdas": True},  # all of which is replaced
    {"use_karras_sigmas": True, "sigma_min": 0.05},
)


def as_options(spacing: str) -> dict[str, Any]:
    """What diffusers is told instead."""
    none = dict.fromkeys((*LEVELS.values(), "use_lu_lambdas"), False)
    return none | ({LEVELS[spacing]: True} if spacing in LEVELS else {"timestep_spacing": TIMESTEPS[spacing]})


def taken(sampler: Sampler) -> set[str]:
    """What diffusers' class of the sampler has an option for."""
    if sampler.name in ("lcm", "tcd"):
        return set()
    of_levels = {*LEVELS} if sampler.name in RESPACED else set()
    if sampler.name in ("flow-euler", "dpmpp-2s"):
        return of_levels | ({"linspace"} if sampler.name == "dpmpp-2s" else set())
    return of_levels | {*TIMESTEPS}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", BETA_ORACLES)
def test_a_chosen_schedule_is_that_of_diffusers(name: str, spacing: str) -> None:
    sampler = next(sampler for sampler in SAMPLERS if sampler.name == name)
    if spacing not in sampler.spacings:
        with pytest.raises(MezzotintError, match=f"sampler {name} has no schedule '{spacing}'"):
            Sampling.settle(OWN, name, 9, None, spacing=spacing)
        return
    for file in FILES:
        options = ddim_config(beta_schedule="scaled_linear") | file
        for steps in (4, 9):
            assert_same_trajectory(name, options, steps, spacing=spacing, as_options=as_options(spacing))


@pytest.mark.parametrize("spacing", OF_LEVELS)
def test_flow_matching(spacing: str) -> None:
    options = ORACLES["flow-euler"].written(shift=3.0, use_karras_sigmas=True)
    assert_same_trajectory("flow-euler", options, 9, spacing=spacing, as_options=as_options(spacing))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_which_samplers_take_which(sampler: Sampler) -> None:
    assert set(sampler.spacings) == taken(sampler)
    assert set(SPACINGS) == {*OF_LEVELS, *OF_TIMESTEPS} == {*LEVELS, *TIMESTEPS}


def test_none_is_what_the_file_says() -> None:
    config = SchedulerConfig.from_dict({"use_karras_sigmas": True, "timestep_spacing": "trailing"})
    assert with_spacing(config, None) is config
    sampling = Sampling.settle(OWN, "euler", 9, None)
    assert sampling.schedule(config).sigmas.tolist() == sampling.sampler.schedule(config, 9).sigmas.tolist()
