"""The parts of the recipe against independent implementations: diffusers, transformers, torch, and plain counting."""

import math
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import nn

from demo.train.artwork.concepts import read_concepts
from demo.train.autoencoder import reconstruction_losses
from demo.train.batches import Batches, picture_stream
from demo.train.config import BACKGROUNDS, RECIPE, Phase
from demo.train.diffusion import SCHEDULE, add_noise, alphas_cumprod, draw_timesteps, timestep_weights
from demo.train.learning_rate import cosine, phase_of, piecewise
from demo.train.meter import format_left
from demo.train.optimizer import MatrixOptimizer
from demo.train.pictures import Pictures
from demo.train.tokenizer import load_tokenizer
from tests.demo.small_recipe import CONCEPTS
from tests.demo.small_recipe import RECIPE as SMALL


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_concepts_are_those_of_the_embedded_checkpoint() -> None:
    concepts = read_concepts()
    assert Counter(concept.group for concept in concepts) == {"focus": 337, "rest": 289, "autoencoder": 382}
    assert len({concept.icon for concept in concepts}) == len({concept.name for concept in concepts}) == 1008


def test_noise_is_added_as_diffusers_adds_it() -> None:
    latents, noise = (torch.randn(3, 4, 2, 2, generator=generator(seed)) for seed in (1, 2))
    timesteps = torch.tensor([0, 500, 999])
    expected = DDPMScheduler(**SCHEDULE).add_noise(latents, noise, timesteps)
    torch.testing.assert_close(add_noise(latents, noise, alphas_cumprod()[timesteps]), expected)


def test_weights_are_those_of_min_snr_plus_something_on_high_noise() -> None:
    snr = compute_snr(DDPMScheduler(**SCHEDULE), torch.arange(1000))
    weights = timestep_weights(alphas_cumprod(), 5.0, 8.0)
    expected = torch.clamp((torch.minimum(snr, torch.tensor(5.0)) + 0.2) / snr, max=8.0)
    torch.testing.assert_close(weights, expected)
    assert weights[0] < 0.01
    assert weights[999] == 8.0


def test_every_part_of_the_schedule_has_one_timestep() -> None:
    timesteps = draw_timesteps(10, generator())
    assert sorted(timesteps.tolist()) != timesteps.tolist()
    assert sorted(int(timestep) // 100 for timestep in timesteps) == list(range(10))


def test_learning_rates_at_the_ends() -> None:
    phases = (Phase(10, 2.0, 2.0, 1, 1), Phase(4, 1.0, 0.0, 1, 1))
    assert piecewise(phases, 0, 5) == pytest.approx(0.4)
    assert piecewise(phases, 9, 5) == 2.0
    assert [piecewise(phases, step, 5) for step in (10, 11, 13)] == [1.0, 0.75, 0.25]
    assert [phase_of(phases, step) for step in (9, 10)] == [(0, 0), (1, 10)]
    with pytest.raises(ValueError, match="beyond"):
        phase_of(phases, 14)
    assert cosine(2.0, 0, 100, 4) == pytest.approx(0.5)
    assert cosine(2.0, 50, 100, 4) == pytest.approx(2.0 * 0.51)


def test_the_recipe_trains_as_many_steps_as_the_embedded_checkpoint() -> None:
    assert RECIPE.pipeline.steps == 3550
    assert RECIPE.pipeline.steps * RECIPE.pipeline.batch == 170_400


def test_muon_on_a_convolution_is_muon_on_its_matrix() -> None:
    weight = torch.randn(6, 3, 2, 2, generator=generator())
    gradients = [torch.randn(6, 3, 2, 2, generator=generator(seed)) for seed in (1, 2, 3)]
    convolution = nn.Parameter(weight.clone(memory_format=torch.channels_last))
    bias = nn.Parameter(torch.zeros(6))
    matrix = nn.Parameter(weight.permute(0, 2, 3, 1).flatten(1).clone())
    ours = MatrixOptimizer([convolution], [bias], 5)
    theirs = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients:
        unit = gradient / gradient.norm()
        convolution.grad = unit.contiguous(memory_format=torch.channels_last)
        bias.grad = torch.zeros(6)
        matrix.grad = unit.permute(0, 2, 3, 1).flatten(1).clone()
        ours.step(0.1)
        theirs.step()  # type: ignore[no-untyped-call]
        assert convolution.grad is None
    torch.testing.assert_close(convolution.permute(0, 2, 3, 1).flatten(1), matrix)


def test_a_long_gradient_is_clipped_over_all_parameters() -> None:
    weight, bias = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    plain = nn.Parameter(torch.zeros(2))
    ours, theirs = MatrixOptimizer([weight], [bias], 5), torch.optim.AdamW([plain], betas=(0.9, 0.99), weight_decay=0.0)
    for scale in (1.0, 30.0):  # AdamW alone would not mind a scale that stays
        weight.grad, bias.grad = torch.full((2, 2), 4.0 * scale), torch.tensor([3.0, 1.0]) * scale
        length = math.sqrt(4 * 16 + 9 + 1) * scale
        plain.grad = torch.tensor([3.0, 1.0]) * scale / length
        theirs.param_groups[0]["lr"] = 0.01
        ours.step(0.01)
        theirs.step()
    torch.testing.assert_close(bias, plain)


def test_contiguous_convolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="channels_last"):
        MatrixOptimizer([nn.Parameter(torch.zeros(4, 3, 3, 3))], [], 5)


def test_reconstruction_losses_by_hand() -> None:
    wanted = torch.zeros(1, 1, 2, 2)
    got = torch.tensor([[[[1.0, 0.0], [0.0, -3.0]]]])
    l1, gradient_l1, mse = reconstruction_losses(wanted, got)
    assert [l1.item(), mse.item()] == [1.0, 2.5]
    assert gradient_l1 == pytest.approx((1 + 3) / 2 + (1 + 3) / 2)


def test_pictures_turn_up_as_often_as_their_weights_say() -> None:
    counts = Counter(islice(picture_stream({7: 2.0, 8: 1.0, 9: 0.4}, Random(0)), 34_000))
    assert counts[7] == pytest.approx(20_000, abs=10)
    assert counts[8] == pytest.approx(10_000, rel=0.02)
    assert counts[9] == pytest.approx(4_000, rel=0.05)
    with pytest.raises(ValueError, match="nothing to choose"):
        next(picture_stream({1: 0.0}, Random(0)))


@pytest.fixture
def batches(demo_checkpoint: Path) -> Batches:
    pictures = Pictures(np.zeros((32, 1, 1, 4), np.uint8), CONCEPTS * 2, ("flat",) * 16 + ("noto",) * 16)
    tokenizer = load_tokenizer(demo_checkpoint / "tokenizer", 32)
    training = replace(SMALL.pipeline, batch=16, phases=(Phase(5, 1, 1, 1, 1), Phase(40, 1, 1, 1.0, 0.0)))
    return Batches(training, pictures, {}, tokenizer, 3)


def test_a_batch_depends_on_its_step_alone(batches: Batches) -> None:
    in_order = [batches.batch(step) for step in range(12)]
    for step in (9, 3, 4, 11, 0):
        again = batches.batch(step)
        assert again.captions == in_order[step].captions
        np.testing.assert_array_equal(again.pictures, in_order[step].pictures)
        np.testing.assert_array_equal(again.backgrounds, in_order[step].backgrounds)
    assert len({batch.captions for batch in in_order}) == 12


def test_a_weight_of_zero_leaves_a_group_out(batches: Batches) -> None:
    later = np.concatenate([batches.batch(step).pictures for step in range(5, 45)])
    assert {CONCEPTS[index % 16].group for index in later} == {"focus"}
    assert len(set(later.tolist())) == 16


def test_captions_say_what_is_in_the_batch(batches: Batches) -> None:
    drawn = [batches.batch(step) for step in range(45)]
    texts = [text for batch in drawn for text in batch.captions]
    assert texts.count("") / len(texts) == pytest.approx(SMALL.pipeline.empty_caption_share, abs=0.04)
    backgrounds = Counter(int(index) for batch in drawn for index in batch.backgrounds)
    assert backgrounds[0] / len(texts) == pytest.approx(0.2 + 0.8 / len(BACKGROUNDS), abs=0.06)
    for batch in drawn:
        for picture, background, text in zip(batch.pictures, batch.backgrounds, batch.captions, strict=True):
            assert not text or CONCEPTS[picture % 16].name in text
            assert not text or background == 0 or tuple(BACKGROUNDS)[background] in text


def test_the_time_left_in_words() -> None:
    assert [format_left(seconds) for seconds in (0.4, 270, 3600, 7507)] == ["0:00 min", "4:30 min", "1:00 h", "2:05 h"]
