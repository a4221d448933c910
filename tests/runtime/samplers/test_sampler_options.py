"""The options of diffusers' scheduler classes: trajectories equal diffusers', or the option is refused."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta  # type: ignore[import-untyped]

from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import find_sampler
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.samplers.spacing import beta_quantiles
from tests.runtime.scheduler_oracle import (
    BETA_ORACLES,
    BETA_PREDICTION_TYPES,
    ORACLES,
    assert_same_states,
    assert_same_trajectory,
    ddim_config,
    oracle_trajectory,
    our_trajectory,
)

MULTISTEP = ("dpmpp-2m", "dpmpp-2m-sde")
SOLVERS = (*MULTISTEP, "dpmpp-2s", "unipc", "deis")
RESPACED = (*SOLVERS, "lms", "euler", "heun")
THRESHOLDING = (*SOLVERS, "ddim", "ddpm", "lcm")
ENDING = (*MULTISTEP, "dpmpp-2s", "unipc", "euler")
STEPS = (1, 2, 7, 14, 15, 20)
SOME = pytest.mark.parametrize(
    "many", [(1, 7, 14, 15), pytest.param((2, 16, 20), marks=pytest.mark.slow)], ids=["some", "more"]
)


def options_with(**options: Any) -> dict[str, Any]:
    return ddim_config(**{"beta_schedule": "scaled_linear", "steps_offset": 1}) | options


@pytest.mark.parametrize("spacing", ["use_exponential_sigmas", "use_beta_sigmas"])
@pytest.mark.parametrize("name", RESPACED)
def test_exponential_and_beta_levels(name: str, spacing: str) -> None:
    for steps, prediction_type in product((1, 2, 7, 20), BETA_PREDICTION_TYPES):
        assert_same_trajectory(name, options_with(prediction_type=prediction_type, **{spacing: True}), steps)


@pytest.mark.parametrize("spacing", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])
@pytest.mark.parametrize("name", RESPACED)
def test_the_ends_of_respaced_levels(name: str, spacing: str) -> None:
    """Also in the schedulers that have no sigma_min and sigma_max of their own: diffusers carries them along."""
    for ends in ({"sigma_min": 0.1}, {"sigma_max": 10.0}, {"sigma_min": 0.05, "sigma_max": 12.0}):
        assert_same_trajectory(name, options_with(**{spacing: True}, **ends), 12)


@pytest.mark.parametrize("spacing", ["use_exponential_sigmas", "use_beta_sigmas"])
def test_flow_matching_respaced(spacing: str) -> None:
    assert_same_trajectory("flow-euler", ORACLES["flow-euler"].written(shift=3.0, **{spacing: True}), 12)


@pytest.mark.parametrize("name", MULTISTEP)
def test_lu_lambdas(name: str) -> None:
    for steps in STEPS:
        assert_same_trajectory(name, options_with(use_lu_lambdas=True), steps)


@pytest.mark.parametrize("name", ENDING)
def test_runs_that_end_at_the_lowest_training_level(name: str) -> None:
    for steps, prediction_type in product(STEPS, BETA_PREDICTION_TYPES):
        assert_same_trajectory(
            name, options_with(final_sigmas_type="sigma_min", prediction_type=prediction_type), steps
        )


@pytest.mark.parametrize("spacing", ["use_karras_sigmas", "use_exponential_sigmas"])
@pytest.mark.parametrize("name", [*ENDING, "deis"])
def test_respaced_levels_that_do_not_end_at_zero(name: str, spacing: str) -> None:
    for steps in (7, 20):
        options = options_with(final_sigmas_type="sigma_min", lower_order_final=True, **{spacing: True})
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "dpmsolver"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", [*MULTISTEP, "dpmpp-2s"])
@SOME
def test_orders_and_kinds_of_dpm_solver(
    many: tuple[int, ...], name: str, order: int, algorithm: str, solver_type: str
) -> None:
    is_sde = name == "dpmpp-2m-sde"
    if is_sde and order == 3 and algorithm == "dpmsolver":
        pytest.skip("diffusers has none")
    for steps, final, lowered in product(many, ("zero", "sigma_min"), (True, False)):
        if final == "zero" and algorithm == "dpmsolver":
            continue  # diffusers has none
        options = options_with(
            solver_order=order,
            solver_type=solver_type,
            algorithm_type=f"sde-{algorithm}" if is_sde else algorithm,
            final_sigmas_type=final,
            lower_order_final=lowered,
        )
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("name", MULTISTEP)
def test_euler_at_the_end(name: str) -> None:
    for order, steps in product((2, 3), (7, 20)):
        options = options_with(euler_at_final=True, final_sigmas_type="sigma_min", solver_order=order)
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("name", [*MULTISTEP, "dpmpp-2s"])
def test_levels_above_a_signal_to_noise_ratio(name: str) -> None:
    for spacing, steps in product(("linspace", "leading"), (7, 20)):
        options = options_with(lambda_min_clipped=-2.0, timestep_spacing=spacing)
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("solver_type", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@SOME
def test_the_options_of_unipc(many: tuple[int, ...], order: int, solver_type: str) -> None:
    final = "sigma_min" if solver_type == "bh1" else "zero"  # diffusers' bh1 makes no number of a step to sigma 0
    for steps, disabled in product(many, ([], [0], [0, 1, 4])):
        options = options_with(
            solver_order=order, solver_type=solver_type, disable_corrector=disabled, final_sigmas_type=final
        )
        assert_same_trajectory("unipc", options, steps)
        ending = options_with(solver_order=order, final_sigmas_type="sigma_min", lower_order_final=False)
        assert_same_trajectory("unipc", ending, steps)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_options_of_deis(order: int) -> None:
    for steps, lowered in product((*STEPS, 16), (True, False)):
        assert_same_trajectory("deis", options_with(solver_order=order, lower_order_final=lowered), steps)


@pytest.mark.parametrize("name", THRESHOLDING)
def test_thresholding(name: str) -> None:
    for prediction_type, most in product(BETA_PREDICTION_TYPES, (1.0, 1.5, 0.7)):
        options = options_with(
            thresholding=True,
            prediction_type=prediction_type,
            sample_max_value=most,
            dynamic_thresholding_ratio=0.8,
            clip_sample=True,
        )
        assert_same_trajectory(name, options, 12)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
def test_the_large_variance_of_ddpm(spacing: str, offset: int) -> None:
    options = options_with(variance_type="fixed_large", timestep_spacing=spacing, steps_offset=offset)
    for steps in (1, 7, 20):
        assert_same_trajectory("ddpm", options, steps)


@pytest.mark.parametrize(
    "options",
    [
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
        {"use_lu_lambdas": True},
        {"final_sigmas_type": "sigma_min"},
        {"thresholding": True, "sample_max_value": 0.5},
        {"solver_order": 3, "solver_type": "heun"},
        {"euler_at_final": True},
        {"lambda_min_clipped": -2.0},
        {"variance_type": "fixed_large"},
        {"disable_corrector": [0]},
        {"sigma_min": 0.1, "sigma_max": 10.0},
        {"solver_type": "logrho"},
        {"interpolation_type": "log_linear"},
        {"timestep_type": "continuous"},
        {"use_flow_sigmas": True, "flow_shift": 3.0},
        {"use_dynamic_shifting": True},
        {"shift_terminal": 0.1},
        {"invert_sigmas": True, "stochastic_sampling": True},
        {"predict_x0": False},
        {"rho": 7.0, "predictor_order": 2, "s_noise": 1.0},
    ],
    ids=lambda options: " ".join(options),
)
@pytest.mark.parametrize("name", BETA_ORACLES)
def test_an_option_acts_as_in_diffusers_or_is_refused_where_it_belongs(name: str, options: dict[str, Any]) -> None:
    """Every sampler with every option: those whose class lacks it run as if it were not there."""
    file = options_with(**options)
    try:
        find_sampler(name).schedule(SchedulerConfig.from_dict(file), 9)
    except MezzotintError as error:
        assert name in str(error)
        assert any(option in str(error) for option in options)
        assert (name, next(iter(options))) in REFUSED
    else:
        assert (name, next(iter(options))) not in REFUSED
        assert_same_trajectory(name, file, 9)


REFUSED = {
    ("euler", "interpolation_type"),
    *((name, "use_flow_sigmas") for name in SOLVERS),
    *(("unipc", option) for option in ("use_dynamic_shifting", "shift_terminal", "predict_x0")),
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("euler", {"timestep_type": "continuous", "prediction_type": "v_prediction"}),
        ("euler", {"use_karras_sigmas": True, "use_beta_sigmas": True}),
        ("dpmpp-2m", {"algorithm_type": "dpmsolver"}),
        ("dpmpp-2m", {"algorithm_type": "data_prediction"}),
        ("dpmpp-2m", {"solver_order": 4}),
        ("dpmpp-2m", {"solver_type": "rk4"}),
        ("dpmpp-2m", {"variance_type": "learned_range"}),
        ("dpmpp-2m-sde", {"solver_order": 3, "algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"}),
        ("deis", {"solver_order": 4}),
        ("deis", {"rescale_betas_zero_snr": True}),
        ("ddpm", {"variance_type": "learned"}),
        ("unipc", {"lower_order_final": False}),
        ("unipc", {"solver_p": {}, "solver_type": "rk4"}),
        ("unipc", {"lower_order_final": False, "final_sigmas_type": "sigma_min", "use_karras_sigmas": True}),
    ],
)
def test_what_a_sampler_lacks_is_refused_by_it_and_the_option_named(name: str, options: dict[str, Any]) -> None:
    config = SchedulerConfig.from_dict(options_with(**options))
    with pytest.raises(MezzotintError, match=f"sampler {name} .*") as error:
        find_sampler(name).schedule(config, 9)
    assert any(option in str(error.value) for option in options)
    assert find_sampler("ddim").schedule(config, 9).steps == 9


@pytest.mark.parametrize("name", [*MULTISTEP, "dpmpp-2s"])
def test_a_file_of_deis_is_read_as_of_dpm_solver_plus_plus(name: str) -> None:
    """As diffusers' classes do where the run does not end at sigma 0; where it does they refuse it, though not "++"."""
    deis = options_with(algorithm_type="deis", solver_type="logrho")
    plus_plus = options_with(algorithm_type="sde-dpmsolver++" if name == "dpmpp-2m-sde" else "dpmsolver++")
    expected = list(oracle_trajectory(name, plus_plus, 9))
    assert_same_states(our_trajectory(name, deis, 9)[0], expected, name)


@pytest.mark.parametrize("option", ["use_dynamic_shifting", "shift_terminal", "invert_sigmas", "stochastic_sampling"])
def test_flow_matching_refuses_what_it_lacks(option: str) -> None:
    config = SchedulerConfig.from_dict({"shift": 3.0, option: 0.1 if option == "shift_terminal" else True})
    with pytest.raises(MezzotintError, match=f"flow-euler has no {option}"):
        find_sampler("flow-euler").schedule(config, 9)


@pytest.mark.parametrize("shape", [0.6, 0.3, 0.9])
def test_quantiles_of_the_beta_distribution_equal_scipys(shape: float) -> None:
    shares = np.concatenate([np.linspace(0.0, 1.0, 401), np.logspace(-12, -0.3, 100), 1.0 - np.logspace(-9, -0.3, 50)])
    np.testing.assert_allclose(beta_quantiles(shares, shape), beta.ppf(shares, shape, shape), rtol=1e-9)
