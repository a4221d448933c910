"""Scores a case's record against the reference's, prompt by prompt, with every metric."""

import math
from collections.abc import Sequence

import numpy as np

from mezzotint.runtime.arrays import FloatArray
from mezzotint.runtime.denoiser import guide

from .bootstrap import median_interval, quantile
from .image_metrics import picture_psnr_db, picture_ssim
from .latent_metrics import eps_sqnr_db, eps_sqnr_db_per_step, latent_sqnr_db
from .metric import Drawing, Metric, NotComputedError
from .record import Record
from .results import IDENTICAL, Score

__all__ = ["METRICS", "score_record"]

METRICS = (
    Metric("psnr_db", "PSNR", "dB", math.inf, picture_psnr_db),
    Metric("ssim", "SSIM", "", 1.0, picture_ssim),
    Metric("latent_sqnr_db", "latent SQNR", "dB", math.inf, latent_sqnr_db),
    Metric("eps_sqnr_db", "eps SQNR", "dB", math.inf, eps_sqnr_db, eps_sqnr_db_per_step),
)


def score_record(reference: Record, test: Record, guidance: float) -> dict[str, Score]:
    """Every metric's score by its name."""
    pairs = list(zip(_drawings(reference, guidance), _drawings(test, guidance), strict=True))
    return {metric.name: _score(metric, pairs) for metric in METRICS}


def _drawings(record: Record, guidance: float) -> list[Drawing]:
    count, outputs = len(record.pixels), record.model_outputs
    guided = [None] * count if outputs is None else [_guided(answers, guidance) for answers in outputs]
    return [Drawing(record.pixels[index], record.latents[index], guided[index]) for index in range(count)]


def _guided(outputs: FloatArray, guidance: float) -> FloatArray:
    """(S, 4, h, w) from both halves (S, 2, 4, h, w), or from one (S, 1, 4, h, w) as it is."""
    return outputs[:, 0] if outputs.shape[1] == 1 else guide(outputs[:, 0], outputs[:, 1], guidance)


def _score(metric: Metric, pairs: Sequence[tuple[Drawing, Drawing]]) -> Score:
    try:
        values = [metric.compute(reference, test) for reference, test in pairs]
        curves = [metric.curve(reference, test) for reference, test in pairs] if metric.curve is not None else []
    except NotComputedError as refusal:
        return _missing_score(str(refusal))
    if any(math.isnan(value) or value == -math.inf for value in values):
        return _missing_score("a picture's figure is not a number")
    lower, upper = median_interval(values)
    summary = {"median": quantile(values, 0.5), "p5": quantile(values, 0.05)}
    score: Score = {
        "per_prompt": [_finite(value) for value in values],
        "identical": all(value == metric.best for value in values),
        "median": _finite(summary["median"]),
        "p5": _finite(summary["p5"]),
        "ci95": [_finite(lower), _finite(upper)],
        "reasons": {name: IDENTICAL for name, value in summary.items() if math.isinf(value)},
    }
    if curves:
        score["per_step"] = [_finite(float(np.median(values))) for values in zip(*curves, strict=True)]
    return score


def _missing_score(reason: str) -> Score:
    """A score that there is not, and why."""
    reasons = dict.fromkeys(("per_prompt", "median", "p5", "ci95"), reason)
    return {"per_prompt": None, "identical": False, "median": None, "p5": None, "ci95": None, "reasons": reasons}


def _finite(value: float) -> float | None:
    """JSON has no infinity: null stands for it, and `reasons` or `identical` say so."""
    return None if math.isinf(value) else round(value, 6)
