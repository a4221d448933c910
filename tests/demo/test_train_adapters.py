"""Trained adapters: formulas are those of diffusers and numpy, readers take the file, and a kill costs nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file

from demo.train.adapters.consistency import Consistency, consistency_function, pseudo_huber
from demo.train.adapters.duotone import Restyling, duotone, recolour
from demo.train.adapters.low_rank import add_low_rank, factors_of, write_adapter
from demo.train.adapters.plans import ALL_LAYERS, ATTENTION, DISTILLING, DUOTONE, Fitting, Trajectories
from demo.train.adapters.recipes import RECIPES, Recipe, make_adapter
from demo.train.adapters.teacher import Teacher, consistency_timesteps
from demo.train.adapters.trainee import AdapterTrainee, write_snapshot
from demo.train.adapters.trajectories import Runs, run_teacher
from demo.train.diffusion import SCHEDULE, alphas_cumprod
from demo.train.workspace import Workspace
from mezzotint.adapters.fit import fit_adapter
from mezzotint.bundle.bundle import sha256_of
from mezzotint.errors import MezzotintError
from mezzotint.progress import silent
from tests.adapters.made import module_weights
from tests.conftest import MakeOnce
from tests.demo.small_recipe import on_one_thread

RUNS = Trajectories(count=6, part=4, steps=4)
FITTING = Fitting(
    rank=4, modules=ALL_LAYERS, steps=4, learning_rate=1e-3, batch=4, warm_up_steps=1, log_every_steps=2, save_every_s=0
)


@pytest.fixture(scope="module")
def runs(make_once: MakeOnce, tiny_checkpoint: Path) -> Runs:
    folder = make_once("adapter-runs", lambda folder: run_teacher(folder, tiny_checkpoint, RUNS, silent))
    return run_teacher(folder, tiny_checkpoint, RUNS, silent)


def unet_of(checkpoint: Path) -> Any:
    return UNet2DConditionModel.from_pretrained(checkpoint / "unet").eval()


def answer(unet: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, unet.config.sample_size, unet.config.sample_size, generator=generator)
    said = torch.randn(2, 7, unet.config.cross_attention_dim, generator=generator)
    with torch.inference_mode():
        answered: torch.Tensor = unet(sample, 500, said, return_dict=False)[0]
    return answered


def trained_factors(unet: Any, modules: tuple[str, ...]) -> dict[str, torch.nn.Parameter]:
    """As after a training: none is zero."""
    factors = factors_of(add_low_rank(unet, modules, 4, seed=0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for factor in factors.values():
            factor.copy_((0.1 * torch.randn(factor.shape, generator=generator)).half())  # nothing is lost in the file
    return factors


def test_factors_change_nothing_at_first(tiny_checkpoint: Path) -> None:
    unet = unet_of(tiny_checkpoint)
    before = answer(unet)
    layers = add_low_rank(unet, ALL_LAYERS, 4, seed=0)
    assert torch.equal(answer(unet), before)
    trained = {name for name, one in unet.named_parameters() if one.requires_grad}
    assert trained == {f"{name}.{factor}.weight" for name in layers for factor in ("down", "up")}


@pytest.mark.parametrize("modules", [ALL_LAYERS, ATTENTION])
def test_the_written_file_changes_a_unet_as_the_factors_do(
    modules: tuple[str, ...], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    unet = unet_of(tiny_checkpoint)
    write_adapter(tmp_path / "one.safetensors", trained_factors(unet, modules))
    merged = unet_of(tiny_checkpoint)
    weights = module_weights(merged)
    shapes = {"unet": {f"{name}.weight": tuple(weight.shape) for name, weight in weights.items()}}
    changes = fit_adapter(tmp_path / "one.safetensors", shapes, "it").changes
    with torch.no_grad():
        for target, change in changes.items():
            weights[target.module].copy_(torch.from_numpy(change.merged(weights[target.module].numpy(), 1.0)))
    assert torch.allclose(answer(merged), answer(unet), atol=1e-4)
    assert (answer(merged) - answer(unet_of(tiny_checkpoint))).abs().max() > 1e-2


def test_diffusers_loads_the_written_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    unet = unet_of(tiny_checkpoint)
    write_adapter(tmp_path / "one.safetensors", trained_factors(unet, ALL_LAYERS))
    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    pipe.load_lora_weights(str(tmp_path), weight_name="one.safetensors")
    assert torch.allclose(answer(pipe.unet), answer(unet), atol=1e-4)


def test_a_layer_that_is_not_there_is_named(tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="to_nowhere"):
        add_low_rank(unet_of(tiny_checkpoint), ("to_q", "to_nowhere"), 4, seed=0)


@pytest.mark.parametrize("timestep", [19, 259, 999])
def test_the_consistency_function_is_that_of_the_scheduler(timestep: int) -> None:
    generator = torch.Generator().manual_seed(0)
    states, epsilon = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    scheduler: Any = LCMScheduler(**SCHEDULE, clip_sample=False)
    scheduler.set_timesteps(50)
    expected = scheduler.step(epsilon, timestep, states, generator=generator).denoised
    found = consistency_function(epsilon, states, torch.tensor([timestep]), alphas_cumprod())
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_consistency_function_is_the_identity_at_timestep_0() -> None:
    states, epsilon = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(consistency_function(epsilon, states, torch.tensor([0]), alphas_cumprod()), states)


def test_pseudo_huber_is_the_papers() -> None:
    rng = np.random.default_rng(0)
    found, wanted = rng.standard_normal((2, 3, 5))
    expected = np.mean(np.sqrt(np.square(found - wanted) + 0.3**2) - 0.3)
    assert pseudo_huber(torch.from_numpy(found), torch.from_numpy(wanted), 0.3).item() == pytest.approx(expected)


def test_the_teachers_runs_are_those_of_diffusers(tiny_checkpoint: Path) -> None:
    teacher = Teacher.load(tiny_checkpoint)
    side = teacher.unet.config.sample_size
    noise = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    texts, timesteps = ["a flat emoji of a fox", "noto style key"], consistency_timesteps(8, 50)
    unsaid = teacher.say([""]).expand(2, -1, -1)
    states, ends = teacher.run(teacher.say(texts), unsaid, noise, timesteps, 5.0)
    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    pipe.scheduler = DPMSolverMultistepScheduler(**SCHEDULE, final_sigmas_type="zero")
    pipe.set_progress_bar_config(disable=True)
    kept: list[torch.Tensor] = []

    def keep(_pipe: Any, _index: int, _timestep: int, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept.append(values["latents"])
        return values

    expected = pipe(
        texts,
        latents=noise,
        timesteps=list(timesteps),
        guidance_scale=5.0,
        output_type="latent",
        callback_on_step_end=keep,
    ).images
    assert torch.allclose(ends, expected, atol=1e-3 * float(expected.abs().max()))
    assert torch.allclose(states[:, 1:], torch.stack(kept[:-1], dim=1), atol=1e-3 * float(expected.abs().max()))
    assert torch.equal(states[:, 0], noise)


def test_runs_that_are_there_are_not_made_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    first = run_teacher(tmp_path, tiny_checkpoint, replace(RUNS, count=4), silent)
    (part,) = tmp_path.glob("*.npz")
    written = part.stat().st_mtime_ns
    more = run_teacher(tmp_path, tiny_checkpoint, RUNS, silent)
    assert part.stat().st_mtime_ns == written
    assert len(more.ends) == 6
    assert torch.equal(more.ends[:4], first.ends)
    with pytest.raises(MezzotintError):
        run_teacher(tmp_path, tiny_checkpoint, replace(RUNS, guidance=3.0), silent)


def test_states_are_asked_for_as_often_as_the_sampler_visits_them(runs: Runs) -> None:
    objective = Consistency.create(runs, replace(DISTILLING, served=(1, 4)))
    assert runs.timesteps == (999, 759, 499, 259)
    assert objective.points.tolist() == pytest.approx([0.5 + 0.125, 0.125, 0.125, 0.125])
    with pytest.raises(ValueError):
        Consistency.create(runs, replace(DISTILLING, served=(8,)))


def test_renoised_states_are_the_ends_with_noise_and_others_lie_on_the_run(runs: Runs) -> None:
    """A UNet that finds no noise makes the loss a function of the states alone."""
    seen: list[torch.Tensor] = []

    def no_noise(states: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor]:
        seen.append(states)
        return (torch.zeros_like(states),)

    for share in (0.0, 1.0):
        objective = Consistency.create(runs, replace(DISTILLING, served=(4,), renoised_share=share))
        objective.loss(no_noise, 16, torch.Generator().manual_seed(0))
    on_runs = runs.states.float().flatten(0, 1)
    assert all(any(torch.equal(state, one) for one in on_runs) for state in seen[0])
    assert not any(any(torch.equal(state, one) for one in on_runs) for state in seen[1])


def test_two_colours_stand_for_black_and_white() -> None:
    pixels = np.array([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]], dtype=np.float32)
    dark, light = np.array(DUOTONE.dark) / 255.0, np.array(DUOTONE.light) / 255.0
    expected = [dark, light, dark + 0.587 * (light - dark)]  # of BT.601, which weighs green so
    np.testing.assert_allclose(duotone(pixels, DUOTONE)[0], expected, atol=1e-6)


def _restyling(folder: Path, checkpoint: Path, runs: Runs, _progress: object) -> Restyling:
    style = replace(DUOTONE, pictures=4)
    return Restyling.create(runs, recolour(folder / "pictures", checkpoint, runs, style, silent), style)


SMALL: dict[str, Recipe] = {
    "lcm": Recipe(
        trajectories=RUNS,
        objective=lambda _folder, _checkpoint, runs, _progress: Consistency.create(
            runs, replace(DISTILLING, served=(4,))
        ),
        fitting=FITTING,
    ),
    "style": Recipe(trajectories=RUNS, objective=_restyling, fitting=replace(FITTING, modules=ATTENTION)),
}


@pytest.mark.parametrize("name", list(SMALL))
def test_a_training_that_was_stopped_goes_on_to_the_same_file(
    name: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(folder: str) -> Path:
        output = tmp_path / folder / "out.safetensors"
        with on_one_thread():
            make_adapter(Workspace(tmp_path / folder), tiny_checkpoint, name, SMALL[name], output)
        return output

    whole = made("whole")
    take_step: Callable[[AdapterTrainee, int], object] = AdapterTrainee.train_step

    def stopping(self: AdapterTrainee, step: int) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return take_step(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(AdapterTrainee, "train_step", stopping)
        made("stopped")
    stopped = Workspace(tmp_path / "stopped")
    assert not (stopped.root / "out.safetensors").exists()
    assert write_snapshot(stopped, name, tmp_path / "snapshot.safetensors") == 3
    assert load_file(tmp_path / "snapshot.safetensors").keys() == load_file(whole).keys()
    assert sha256_of(made("stopped")) == sha256_of(whole)


def test_a_training_makes_its_loss_smaller(tiny_checkpoint: Path, runs: Runs) -> None:
    objective = Consistency.create(runs, replace(DISTILLING, served=(1,)))
    fitting = replace(FITTING, steps=40, learning_rate=3e-3, batch=16)
    trainee = AdapterTrainee.create(tiny_checkpoint, fitting, objective)

    def on_one_batch() -> float:
        with torch.no_grad():
            return objective.loss(trainee.unet, 64, torch.Generator().manual_seed(9))[0].item()

    before = on_one_batch()
    for step in range(fitting.steps):
        trainee.train_step(step)
    assert on_one_batch() < 0.95 * before


def test_nothing_is_to_be_written_of_a_training_that_has_not_begun(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError):
        write_snapshot(Workspace(tmp_path), "lcm", tmp_path / "out.safetensors")


def test_another_plan_needs_another_workspace(tiny_checkpoint: Path, tmp_path: Path) -> None:
    recipe, workspace = SMALL["lcm"], Workspace(tmp_path)
    make_adapter(workspace, tiny_checkpoint, "lcm", recipe, tmp_path / "one.safetensors")
    other = replace(recipe, fitting=replace(FITTING, rank=2))
    with pytest.raises(MezzotintError):
        make_adapter(workspace, tiny_checkpoint, "lcm", other, tmp_path / "two.safetensors")


@pytest.mark.parametrize("name", ["lcm", "style"])
def test_the_adapter_in_the_repository_is_of_its_recipe(name: str, demo_checkpoint: Path, repo_root: Path) -> None:
    path, recipe = repo_root / "demo" / "adapters" / f"{name}.safetensors", RECIPES[name]
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(demo_checkpoint / "unet"))
    expected = {
        key: tuple(factor.shape)
        for key, factor in factors_of(add_low_rank(unet, recipe.fitting.modules, recipe.fitting.rank, seed=0)).items()
    }
    factors = load_file(path)
    assert {key: tuple(factor.shape) for key, factor in factors.items()} == expected
    assert {factor.dtype for factor in factors.values()} == {torch.float16}
    assert path.stat().st_size < 4e6
    assert all(factor.abs().sum() > 0 for factor in factors.values())
