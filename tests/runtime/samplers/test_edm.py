"""Models with EDM's preconditioning: trajectories equal diffusers' own classes for them."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.defaults import Defaults
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.edm import edm_x0
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from tests.runtime.scheduler_oracle import (
    EDM_ORACLES,
    assert_same_trajectory,
    denoiser,
    model,
    noise_source,
)

PLAYGROUND = {"sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002, "rho": 7.0, "prediction_type": "epsilon"}
COSXL = {"sigma_data": 1.0, "sigma_max": 120.0, "sigma_min": 0.002, "sigma_schedule": "exponential"}
OWN = Defaults(sampler="euler", scheduler_class="EDMEulerScheduler")


def written(name: str, **options: Any) -> dict[str, Any]:
    """A file as diffusers writes it."""
    return EDM_ORACLES[name].written(**options)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", EDM_ORACLES)
def test_the_trajectory_is_that_of_diffusers(name: str, prediction_type: str) -> None:
    for trained, steps in product((PLAYGROUND, COSXL), (2, 7, 20)):
        assert_same_trajectory(name, written(name, **{**trained, "prediction_type": prediction_type}), steps)
    assert_same_trajectory(name, written(name, **PLAYGROUND), 1)


@pytest.mark.parametrize("name", EDM_ORACLES)
def test_the_end_above_zero_and_another_rho(name: str) -> None:
    for changes in ({"rho": 3.0}, {"sigma_min": 0.1, "sigma_max": 14.0}, {"final_sigmas_type": "sigma_min"}):
        if name == "dpmpp-2m-sde" and "final_sigmas_type" in changes:
            continue  # where diffusers' last step takes the root of less than 0
        assert_same_trajectory(name, written(name, **{**PLAYGROUND, **changes}), 9)


@pytest.mark.parametrize("name", ["dpmpp-2m", "dpmpp-2m-sde"])
def test_the_options_of_the_solver(name: str) -> None:
    orders = (1, 2) if name == "dpmpp-2m-sde" else (1, 2, 3)  # diffusers' third order has no noise
    for order, solver_type, steps in product(orders, ("midpoint", "heun"), (7, 20)):
        assert_same_trajectory(name, written(name, **PLAYGROUND, solver_order=order, solver_type=solver_type), steps)
    assert_same_trajectory(name, written(name, **PLAYGROUND, thresholding=True, sample_max_value=1.5), 7)


@pytest.mark.parametrize("spacing", ["karras", "exponential"])
@pytest.mark.parametrize("name", EDM_ORACLES)
def test_a_chosen_schedule(name: str, spacing: str) -> None:
    assert_same_trajectory(
        name, written(name, **PLAYGROUND), 9, spacing=spacing, as_options={"sigma_schedule": spacing}
    )


def test_a_class_of_edm_without_its_options_has_diffusers_defaults() -> None:
    config = SchedulerConfig.from_dict({"_class_name": "EDMEulerScheduler"})
    schedule = find_sampler("euler").schedule(config, 5)
    assert config.sigma_data == 0.5
    assert schedule.initial_scale == pytest.approx(math.sqrt(80.0**2 + 1.0))
    assert schedule.sigmas[[0, -2, -1]].tolist() == pytest.approx([80.0, 0.002, 0.0])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_the_others_refuse_such_models(sampler: Any) -> None:
    config = SchedulerConfig.from_dict(PLAYGROUND)
    if sampler.name in EDM_ORACLES:
        assert sampler.schedule(config, 5).steps == 5
    else:
        expected = "flow matching" if sampler.name == "flow-euler" else "EDM .*choose euler or dpmpp-2m"
        with pytest.raises(MezzotintError, match=expected):
            sampler.schedule(config, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction_type": "sample"}, "sampler euler has no prediction_type='sample' for models of EDM"),
        ({"sigma_min": 90.0}, "from 90.0 to 80.0, expected to rise"),
        ({"sigma_max": 1e9}, "at most 100000"),
    ],
)
def test_what_edm_does_not_have_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        find_sampler("euler").schedule(SchedulerConfig.from_dict({**PLAYGROUND, **options}), 5)
    sampling = Sampling.settle(OWN, None, 5, None, spacing="beta")
    with pytest.raises(MezzotintError, match="no schedule 'beta'; choose karras or exponential"):
        sampling.schedule(SchedulerConfig.from_dict(PLAYGROUND))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_denoiser_is_that_of_the_oracle(prediction_type: str) -> None:
    config = SchedulerConfig.from_dict({**PLAYGROUND, "prediction_type": prediction_type})
    schedule = find_sampler("euler").schedule(config, 5)
    assert schedule.timestep_at(math.e) == pytest.approx(0.25)  # off the schedule
    x: Array = noise_source()()
    for sigma in (80.0, 1.0, 0.002):
        output = model(x / schedule.model_scale(sigma), schedule.timestep_at(sigma))
        np.testing.assert_allclose(edm_x0(config, x, output, sigma), denoiser(schedule)(x, sigma), rtol=1e-5, atol=1e-6)
