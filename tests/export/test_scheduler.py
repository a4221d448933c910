"""What export makes of a scheduler_config.json: the bundle's defaults, and warnings of samplers that cannot run."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.defaults import Defaults
from mezzotint.export import Chosen, SamplerWarning
from mezzotint.export.scheduler import defaults_of
from mezzotint.runtime import MezzotintError

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def made(folder: Path, chosen: Chosen | None = None, **options: Any) -> Defaults:
    path = folder / "scheduler_config.json"
    path.write_text(json.dumps({**BETAS, **options}), encoding="utf-8")
    return defaults_of(path, chosen or Chosen())


def test_the_class_and_what_was_chosen(tmp_path: Path) -> None:
    assert made(tmp_path, _class_name="PNDMScheduler") == Defaults(sampler="pndm", scheduler_class="PNDMScheduler")
    distilled = Chosen(scheduler="euler", steps=1, guidance=0.0)
    assert made(tmp_path, distilled, _class_name="PNDMScheduler") == Defaults(
        sampler="euler", scheduler_class="PNDMScheduler", steps=1, guidance=0.0
    )


def test_a_spacing_that_was_chosen_is_written_into_the_file(tmp_path: Path) -> None:
    """Where it replaces what was there, and no switch is added that says no."""
    path = tmp_path / "scheduler_config.json"
    for schedule, expected in (
        ("trailing", {"timestep_spacing": "trailing", "use_karras_sigmas": False}),
        ("sgm_uniform", {"timestep_spacing": "trailing", "use_karras_sigmas": False}),
        ("exponential", {"use_exponential_sigmas": True, "use_karras_sigmas": False}),
    ):
        own = {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True, **BETAS}
        assert made(tmp_path, Chosen(schedule=schedule, steps=4, guidance=0.0), **own).steps == 4
        assert json.loads(path.read_text(encoding="utf-8")) == {**own, **expected}
    with pytest.raises(MezzotintError, match="sampler lcm has no schedule 'trailing'; leave it away"):
        made(tmp_path, Chosen(schedule="trailing"), _class_name="LCMScheduler")


def test_a_distilled_checkpoint_runs_few_steps_without_a_negative_half(tmp_path: Path) -> None:
    for name, sampler in (("LCMScheduler", "lcm"), ("TCDScheduler", "tcd")):
        own = made(tmp_path, _class_name=name)
        assert (own.sampler, own.steps, own.guidance) == (sampler, 4, 1.0)
    assert defaults_of(tmp_path / "scheduler_config.json", Chosen(), own_guidance=8.5).guidance == 8.5
    assert defaults_of(tmp_path / "scheduler_config.json", Chosen(guidance=2.0), own_guidance=8.5).guidance == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"_class_name": "KDPM2DiscreteScheduler"}, "own sampler is diffusers' KDPM2DiscreteScheduler, .*--scheduler"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"},
            "to run with cannot run: .*final_sigmas_type='zero'",
        ),
        (
            {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True},
            "run this checkpoint: deis, dpmpp-2s, heun, lcm, lms, pndm, tcd",
        ),
        (
            {"_class_name": "DDIMScheduler", "solver_order": 4},
            "deis, dpmpp-2m, dpmpp-2m-sde, dpmpp-2s .*solver_order=4",
        ),
    ],
)
def test_what_cannot_run_is_said(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made(tmp_path, **options)
    assert {warning.category for warning in caught} == {SamplerWarning}
    assert any(re.search(message, str(warning.message)) for warning in caught)


@pytest.mark.parametrize("options", [{"_class_name": "DDPMWuerstchenScheduler", "scaler": 1.0}, {"beta_start": 7}])
def test_what_no_sampler_can_be_right_with_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(MezzotintError, match=r"scheduler_config\.json"):
        made(tmp_path, **options)


def test_samplers_for_other_training_are_not_worth_a_warning(tmp_path: Path) -> None:
    edm = {"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002}
    (tmp_path / "scheduler_config.json").write_text(json.dumps(edm), encoding="utf-8")
    assert defaults_of(tmp_path / "scheduler_config.json", Chosen()).sampler == "dpmpp-2m"


@pytest.mark.parametrize("chosen", [Chosen(steps=0), Chosen(guidance=float("nan")), Chosen(guidance=1e9)])
def test_defaults_that_no_run_could_have_are_refused(tmp_path: Path, chosen: Chosen) -> None:
    with pytest.raises(MezzotintError, match="default"):
        made(tmp_path, chosen, _class_name="DDIMScheduler")


@pytest.mark.parametrize(("name", "most"), [("DDIMScheduler", 1000), ("LCMScheduler", 50)])
def test_steps_that_the_sampler_cannot_make_are_refused(name: str, most: int, tmp_path: Path) -> None:
    assert made(tmp_path, Chosen(steps=most), _class_name=name).steps == most
    with pytest.raises(MezzotintError, match=str(most + 1)):
        made(tmp_path, Chosen(steps=most + 1), _class_name=name)


def test_an_unknown_sampler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="there is no sampler 'k'"):
        made(tmp_path, Chosen(scheduler="k"), _class_name="DDIMScheduler")
    for content in ("{", "[]"):
        (tmp_path / "scheduler_config.json").write_text(content, encoding="utf-8")
        with pytest.raises(MezzotintError, match=r"scheduler_config\.json"):
            defaults_of(tmp_path / "scheduler_config.json", Chosen())
