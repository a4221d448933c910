"""Every metric against an implementation of its definition that shares no code with it."""

import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from mezzotint.arrays import Array, FloatArray
from mezzotint.benchmarks.metrics.fidelity import METRICS, score_record
from mezzotint.benchmarks.metrics.image_metrics import image_psnr_db, image_ssim
from mezzotint.benchmarks.metrics.latent_metrics import (
    eps_cond_sqnr_db,
    eps_sqnr_db,
    eps_sqnr_db_per_step,
    eps_uncond_sqnr_db,
    latent_sqnr_db,
)
from mezzotint.benchmarks.metrics.metric import Generation, Metric, NotComputedError
from tests.benchmarks.synthetic import record

GUIDANCE = 5.0


def _generation(seed: int, height: int = 20, width: int = 28) -> Generation:
    generator = np.random.default_rng(seed)
    scene = np.random.default_rng(99)

    def generate(*shape: int) -> FloatArray:
        return (scene.random(shape) + 0.05 * generator.standard_normal(shape)).astype(np.float32)

    pixels, latents, outputs = np.clip(generate(height, width, 3), 0, 1), generate(4, 6, 6), generate(5, 2, 4, 6, 6)
    return Generation(pixels, latents, outputs[:, 0] + 5.0 * (outputs[:, 1] - outputs[:, 0]), outputs)


def _ssim_by_definition(reference: Array, test: Array) -> float:
    """Wang et al. 2004, equation 13, with an 11x11 Gaussian window, at every place where the window fits."""
    offsets = np.arange(11) - 5.0
    line = np.exp(-0.5 * (offsets / 1.5) ** 2)
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for channel in range(3):
        x, y = reference[..., channel].astype(np.float64), test[..., channel].astype(np.float64)
        for top in range(x.shape[0] - 10):
            for left in range(x.shape[1] - 10):
                a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
                covariance = (window * a * b).sum() - mean_a * mean_b
                luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
                values.append(luminance * (2 * covariance + c2) / (var_a + var_b + c2))
    return float(np.mean(values))


def _sqnr_by_definition(reference: Array, test: Array) -> float:
    wanted, error = reference.astype(np.float64), reference.astype(np.float64) - test.astype(np.float64)
    return float(20 * np.log10(np.linalg.norm(wanted) / np.linalg.norm(error)))


def test_psnr() -> None:
    reference, test = _generation(1), _generation(2)
    error = reference.pixels.astype(np.float64) - test.pixels.astype(np.float64)
    assert image_psnr_db(reference, test) == pytest.approx(-10 * np.log10(np.mean(error**2)), abs=1e-6)


def test_ssim() -> None:
    reference, test = _generation(1), _generation(2)
    assert image_ssim(reference, test) == pytest.approx(_ssim_by_definition(reference.pixels, test.pixels), abs=1e-4)


def test_ssim_of_a_tiny_image_is_not_computed() -> None:
    with pytest.raises(NotComputedError, match="28x10"):
        image_ssim(_generation(1, height=10), _generation(2, height=10))


def test_latent_sqnr() -> None:
    reference, test = _generation(1), _generation(2)
    assert reference.latents is not None
    assert test.latents is not None
    assert latent_sqnr_db(reference, test) == pytest.approx(_sqnr_by_definition(reference.latents, test.latents))


def test_latents_that_a_peer_keeps_to_itself_are_not_scored() -> None:
    with pytest.raises(NotComputedError, match="does not hand out"):
        latent_sqnr_db(_generation(1), replace(_generation(2), latents=None))


def test_eps_sqnr_is_the_median_of_the_steps() -> None:
    reference, test = _generation(1), _generation(2)
    assert reference.guided is not None
    assert test.guided is not None
    steps = [_sqnr_by_definition(reference.guided[index], test.guided[index]) for index in range(5)]
    assert eps_sqnr_db_per_step(reference, test) == pytest.approx(steps)
    assert eps_sqnr_db(reference, test) == pytest.approx(np.median(steps))


def test_eps_sqnr_without_teacher_forcing_is_not_computed() -> None:
    with pytest.raises(NotComputedError):
        eps_sqnr_db(_generation(1), replace(_generation(2), guided=None))


def test_each_half_is_compared_alone() -> None:
    reference, test = _generation(1), _generation(2)
    assert reference.outputs is not None
    assert test.outputs is not None
    for half, metric in ((0, eps_uncond_sqnr_db), (1, eps_cond_sqnr_db)):
        steps = [_sqnr_by_definition(reference.outputs[step, half], test.outputs[step, half]) for step in range(5)]
        assert metric(reference, test) == pytest.approx(np.median(steps))


def test_a_run_without_guidance_has_no_negative_half() -> None:
    reference, test = (
        replace(each, outputs=None if each.outputs is None else each.outputs[:, :1])
        for each in (_generation(1), _generation(2))
    )
    assert eps_cond_sqnr_db(reference, test) > 0
    with pytest.raises(NotComputedError, match="no guidance"):
        eps_uncond_sqnr_db(reference, test)


_WITHOUT_WEIGHTS = [metric for metric in METRICS if metric.weights is None]


@pytest.mark.parametrize("metric", _WITHOUT_WEIGHTS, ids=lambda metric: metric.name)
def test_a_generating_against_itself_has_the_best_value(metric: Metric) -> None:
    generation = _generation(1, height=176, width=181)
    try:
        value = metric.compute(generation, generation)
    except NotComputedError as refusal:
        pytest.skip(str(refusal))
    assert value == pytest.approx(metric.best)


def test_a_record_against_itself_is_identical() -> None:
    computed = {"psnr_db", "ssim", "latent_sqnr_db", "eps_sqnr_db", "eps_cond_sqnr_db", "eps_uncond_sqnr_db"}
    computed |= {"st_lpips"} if find_spec("stlpips_pytorch") is not None else set()
    for name, score in score_record(record(0.0), record(0.0), GUIDANCE).items():
        assert score["identical"] == (name in computed), name
    psnr = score_record(record(0.0), record(0.0), GUIDANCE)["psnr_db"]
    assert psnr["per_prompt"] == [None] * 5
    assert (psnr["median"], psnr["p5"], psnr["ci95"]) == (None, None, [None, None])
    assert psnr["reasons"] == {"median": "identical", "p5": "identical"}


def test_scores_summarise_the_prompts() -> None:
    reference, test = record(0.0), record(0.02, seed=4)
    score = score_record(reference, test, GUIDANCE)["psnr_db"]
    by_hand = [
        -10 * math.log10(float(np.mean((a.astype(np.float64) - b) ** 2)))
        for a, b in zip(reference.pixels, test.pixels, strict=True)
    ]
    assert score["per_prompt"] == pytest.approx(by_hand, abs=1e-5)
    assert score["median"] == pytest.approx(np.median(by_hand), abs=1e-5)
    assert score["p5"] == pytest.approx(np.percentile(by_hand, 5), abs=1e-5)
    assert score["ci95"] is not None
    lower, upper = score["ci95"]
    assert min(by_hand) - 1e-5 <= (lower or 0) <= (score["median"] or 0) <= (upper or 0) <= max(by_hand) + 1e-5
    assert not score["identical"]
    assert score["reasons"] == {}


def test_one_identical_prompt_does_not_make_the_case_identical() -> None:
    reference, test = record(0.0), record(0.02, seed=4)
    test.pixels[0] = reference.pixels[0]
    score = score_record(reference, test, GUIDANCE)["psnr_db"]
    assert score["per_prompt"] is not None
    assert score["per_prompt"][0] is None
    assert not score["identical"]
    assert score["median"] is not None


def test_eps_is_guided_before_it_is_compared() -> None:
    reference, test = record(0.0), record(0.01, seed=5)
    assert reference.model_outputs is not None
    assert test.model_outputs is not None

    def guided(outputs: Array) -> Array:
        return outputs[:, 0] + GUIDANCE * (outputs[:, 1].astype(np.float64) - outputs[:, 0])

    steps = [
        [_sqnr_by_definition(wanted, got) for wanted, got in zip(guided(a), guided(b), strict=True)]
        for a, b in zip(reference.model_outputs, test.model_outputs, strict=True)
    ]
    score = score_record(reference, test, GUIDANCE)["eps_sqnr_db"]
    assert score["per_prompt"] == pytest.approx(np.median(steps, axis=1), abs=1e-3)
    assert score["per_step"] == pytest.approx(np.median(steps, axis=0), abs=1e-3)


def test_a_metric_that_cannot_be_computed_is_null_with_its_reason() -> None:
    score = score_record(record(0.0), record(0.1, forced=False), GUIDANCE)["eps_sqnr_db"]
    assert (score["per_prompt"], score["median"], score["p5"], score["ci95"]) == (None, None, None, None)
    assert "trajectory" in score["reasons"]["median"]
    assert "per_step" not in score
