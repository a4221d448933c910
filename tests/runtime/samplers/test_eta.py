"""eta, the noise that the steps of DDIM and TCD add: trajectories equal diffusers', and the others have none."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from mezzotint.bundle.defaults import Defaults
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler
from mezzotint.runtime.samplers.sampler import Adjustable
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import TIMESTEP_SPACINGS, SchedulerConfig
from tests.runtime.scheduler_oracle import (
    BETA_PREDICTION_TYPES,
    ORACLES,
    assert_same_trajectory,
    ddim_config,
    denoiser,
    noise_source,
)

ETAS = (0.0, 0.25, 0.6, 1.0)
OWN = Defaults(sampler="ddim", scheduler_class="DDIMScheduler")


def options_with(**options: Any) -> dict[str, Any]:
    return ddim_config(**{"beta_schedule": "scaled_linear", **options})


@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
@pytest.mark.parametrize("eta", ETAS)
def test_ddim(eta: float, spacing: str) -> None:
    for prediction_type, steps, ends_at_zero in product(BETA_PREDICTION_TYPES, (1, 7, 20), (True, False)):
        options = options_with(
            timestep_spacing=spacing, prediction_type=prediction_type, steps_offset=1, set_alpha_to_one=ends_at_zero
        )
        assert_same_trajectory("ddim", options, steps, eta=eta)


@pytest.mark.parametrize("eta", [0.25, 0.9])
def test_ddim_with_limits_and_at_zero_snr(eta: float) -> None:
    for changes in (
        {"clip_sample": True},
        {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.8},
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
    ):
        assert_same_trajectory("ddim", options_with(**changes), 12, eta=eta)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("original", [50, 25, 1000])
def test_tcd(original: int, eta: float) -> None:
    for prediction_type, steps in product(BETA_PREDICTION_TYPES, (1, 2, 3, 4, 8, 20)):
        options = ORACLES["tcd"].written(
            original_inference_steps=original, prediction_type=prediction_type, beta_schedule="scaled_linear"
        )
        assert_same_trajectory("tcd", options, steps, eta=eta)


def test_without_a_choice_ddim_adds_no_noise_and_tcd_the_papers() -> None:
    config = SchedulerConfig.from_dict(options_with())
    assert [find_sampler(name).schedule(config, 4).eta for name in ("ddim", "tcd")] == [0.0, 0.3]
    chosen = Sampling.settle(OWN, "tcd", 4, None, eta=0.0).schedule(config)
    start = noise_source()()
    x = find_sampler("tcd").sample(denoiser(chosen), start, chosen)  # needs none
    assert np.isfinite(x).all()
    assert chosen.tail(2).eta == 0.0


def test_an_eta_needs_noise() -> None:
    schedule = Sampling.settle(OWN, None, 4, None, eta=0.5).schedule(SchedulerConfig.from_dict(options_with()))
    with pytest.raises(MezzotintError, match="ddim adds noise at every step and got none"):
        find_sampler("ddim").sample(denoiser(schedule), noise_source()(), schedule)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_the_others_refuse_it(sampler: Any) -> None:
    if isinstance(sampler, Adjustable):
        assert Sampling.settle(OWN, sampler.name, 4, None, eta=0.5).eta == 0.5
    else:
        with pytest.raises(MezzotintError, match=f"sampler {sampler.name} has no eta; choose ddim or tcd"):
            Sampling.settle(OWN, sampler.name, 4, None, eta=0.0)
