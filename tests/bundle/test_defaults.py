"""What a bundle generates with when nobody says: its checkpoint's sampler, steps and guidance, as in diffusers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from mezzotint.bundle.bundle import write_manifest
from mezzotint.bundle.defaults import Defaults
from mezzotint.decibel import sqnr_db
from mezzotint.runtime import Bundle, ImageToImage, MezzotintError, Settings, TextToImage, read_settings
from mezzotint.runtime.samplers.sampling import Sampling
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig

PROMPT = "a flat emoji of a red apple"
OWN = {
    "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp-2m-sde": diffusers.DPMSolverMultistepScheduler,
    "euler-ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "deis": diffusers.DEISMultistepScheduler,
    "lcm": diffusers.LCMScheduler,
    "pndm": diffusers.PNDMScheduler,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "dpmpp-2m": {"use_karras_sigmas": True},
    "dpmpp-2m-sde": {"algorithm_type": "sde-dpmsolver++"},
    "pndm": {"skip_prk_steps": True},
}


def bundle_with(source: Bundle, folder: Path, options: dict[str, object], defaults: Defaults | None = None) -> Bundle:
    """A copy of `source` with this scheduler_config.json; without `defaults` its manifest is one of before."""
    shutil.copytree(source.path, folder)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(options), encoding="utf-8")
    write_manifest(folder, replace(source.manifest, defaults=defaults))
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def oracle(tiny_checkpoint: Path) -> Any:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # numpy on tensors in diffusers' DEIS
@pytest.mark.parametrize("name", OWN)
def test_a_plain_call_is_that_of_diffusers(name: str, oracle: Any, tiny_bundle: Bundle, tmp_path: Path) -> None:
    file = tiny_bundle.config("scheduler/scheduler_config.json")
    oracle.scheduler = OWN[name].from_config(file, **OPTIONS.get(name, {}))
    oracle.scheduler.save_pretrained(tmp_path / "scheduler")
    written = json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    bundle = bundle_with(tiny_bundle, tmp_path / "bundle", written)
    steps, guidance = (4, 1.0) if name == "lcm" else (25, 5.0)
    expected = oracle(
        PROMPT,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images.numpy()
    result = TextToImage.load(bundle.path)(PROMPT, seed=3)
    assert sqnr_db(expected, result.latents) > 80
    result.write(tmp_path / "image.png")
    assert read_settings(tmp_path / "image.png") == result.settings[0]
    assert (result.settings[0].scheduler, result.settings[0].guidance) == (name, guidance)


def test_the_manifests_record_goes_before_the_scheduler_file(tiny_bundle: Bundle, tmp_path: Path) -> None:
    file = tiny_bundle.config("scheduler/scheduler_config.json")
    stated = Defaults(sampler="euler", scheduler_class="DDIMScheduler", steps=3, guidance=1.0)
    pipe = TextToImage.load(bundle_with(tiny_bundle, tmp_path / "bundle", file, stated).path)
    plain = pipe(PROMPT)
    assert (plain.latents == pipe(PROMPT, scheduler="euler", steps=3, guidance=1.0).latents).all()
    assert (plain.latents == pipe.generate(Settings(PROMPT)).latents).all()
    assert [plain.settings[0].scheduler, plain.settings[0].steps, plain.settings[0].guidance] == ["euler", 3, 1.0]
    asked = pipe(PROMPT, scheduler="ddim", steps=None, guidance=None)
    assert (asked.settings[0].scheduler, asked.settings[0].steps) == ("ddim", 3)
    image = ImageToImage.sharing(pipe)(PROMPT, plain.images[0], strength=0.7)
    assert image.settings[0].steps == 3


def test_a_sampler_that_is_not_here_is_refused_unless_one_is_chosen(tiny_bundle: Bundle, tmp_path: Path) -> None:
    file = tiny_bundle.config("scheduler/scheduler_config.json") | {"_class_name": "KDPM2DiscreteScheduler"}
    pipe = TextToImage.load(bundle_with(tiny_bundle, tmp_path / "bundle", file).path)
    with pytest.raises(MezzotintError, match=r"KDPM2DiscreteScheduler, which is not here; .*--scheduler: ddim, ddpm"):
        pipe(PROMPT, steps=2)
    assert pipe(PROMPT, steps=2, scheduler="euler").settings[0].scheduler == "euler"


def test_options_of_other_samplers_are_no_hindrance(oracle: Any, tiny_bundle: Bundle, tmp_path: Path) -> None:
    file = tiny_bundle.config("scheduler/scheduler_config.json")
    file |= {"use_karras_sigmas": True, "solver_order": 3, "use_lu_lambdas": True, "euler_at_final": True}
    pipe = TextToImage.load(bundle_with(tiny_bundle, tmp_path / "bundle", file).path)
    oracle.scheduler = diffusers.DDIMScheduler.from_config(file)
    generator = torch.Generator().manual_seed(0)
    expected = oracle(PROMPT, num_inference_steps=4, guidance_scale=5.0, generator=generator, output_type="latent")
    assert sqnr_db(expected.images.numpy(), pipe(PROMPT, steps=4, scheduler="ddim").latents) > 80


@pytest.mark.parametrize(
    ("options", "sampler"),
    [
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver"}, "dpmpp-2m-sde"),
        ({"_class_name": "DPMSolverSinglestepScheduler", "algorithm_type": "sde-dpmsolver++"}, None),
        ({"_class_name": "FlaxDDIMScheduler"}, "ddim"),
        ({"_class_name": ["DDIMScheduler"]}, None),
        ({}, None),
    ],
)
def test_the_sampler_of_a_class(options: dict[str, object], sampler: str | None) -> None:
    assert Defaults.of_scheduler(options).sampler == sampler


def test_settling() -> None:
    own = Defaults(sampler="lcm", scheduler_class="LCMScheduler", steps=4)
    assert Sampling.settle(own, None, None, None).sampler.name == "lcm"
    chosen = Sampling.settle(own, "euler", 7, 1.0)
    assert (chosen.sampler.name, chosen.steps, chosen.guidance, chosen.is_guided) == ("euler", 7, 1.0, False)
    with pytest.raises(MezzotintError, match="there is no sampler 'k'"):
        Sampling.settle(own, "k", None, None)


def test_the_demo_checkpoint_is_calibrated_for_what_it_was(repo_root: Path) -> None:
    """Its INT8 graphs depend on these."""
    file = json.loads((repo_root / "demo/checkpoint/scheduler/scheduler_config.json").read_text(encoding="utf-8"))
    assert Defaults.of_scheduler(file) == Defaults(
        sampler="ddim", scheduler_class="DDIMScheduler", steps=25, guidance=5.0
    )
    assert SchedulerConfig.from_dict(file).timestep_spacing == "trailing"
