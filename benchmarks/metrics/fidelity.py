"""Scores a case's record against the reference's, prompt by prompt, with every metric."""

import importlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.weight_faults import WEIGHT_SUFFIXES, weight_fault
from mezzotint.runtime.denoiser import guide

from ..figures.bootstrap import median_interval, quantile
from ..figures.results import IDENTICAL, Score
from ..measure.record import Record
from .gallery import set_top1_concept
from .image_metrics import image_psnr_db, image_ssim
from .latent_metrics import (
    eps_cond_sqnr_db,
    eps_cond_sqnr_db_per_step,
    eps_sqnr_db,
    eps_sqnr_db_per_step,
    eps_uncond_sqnr_db,
    eps_uncond_sqnr_db_per_step,
    latent_sqnr_db,
)
from .metric import Generation, Metric, NotComputedError
from .ms_ssim import image_ms_ssim


def _late(module: str, function: str) -> Callable[..., float]:
    """A metric in a file that imports torch, which is imported when the metric is computed."""
    return partial(_call, module, function)


def _call(module: str, function: str, *arguments: Any) -> float:
    return float(getattr(importlib.import_module(module, __package__), function)(*arguments))


_INCEPTION, _GALLERY = "inception.pt", "gallery.npz"
METRICS = (
    Metric("psnr_db", "PSNR", "dB", math.inf, image_psnr_db),
    Metric("ssim", "SSIM", "", 1.0, image_ssim),
    Metric("ms_ssim", "MS-SSIM", "", 1.0, image_ms_ssim),
    Metric("st_lpips", "ST-LPIPS", "", 0.0, _late(".perceptual_lpips", "image_st_lpips"), higher_is_better=False),
    Metric("latent_sqnr_db", "latent SQNR", "dB", math.inf, latent_sqnr_db),
    Metric("eps_sqnr_db", "eps SQNR", "dB", math.inf, eps_sqnr_db, curve=eps_sqnr_db_per_step),
    Metric(
        "eps_cond_sqnr_db", "eps SQNR, prompt half", "dB", math.inf, eps_cond_sqnr_db, curve=eps_cond_sqnr_db_per_step
    ),
    Metric(
        "eps_uncond_sqnr_db",
        "eps SQNR, negative half",
        "dB",
        math.inf,
        eps_uncond_sqnr_db,
        curve=eps_uncond_sqnr_db_per_step,
    ),
    Metric(
        "lpips", "LPIPS", "", 0.0, _late(".perceptual_lpips", "image_lpips"), weights="lpips", higher_is_better=False
    ),
    Metric(
        "clip_score_change",
        "CLIP score change",
        "",
        0.0,
        _late(".perceptual_clip", "image_clip_score_change"),
        weights="clip",
    ),
    Metric(
        "kid",
        "KID",
        "",
        0.0,
        _late(".perceptual_inception", "set_kid"),
        weights=_INCEPTION,
        of_set=True,
        higher_is_better=False,
    ),
    Metric(
        "fid",
        "FID",
        "",
        0.0,
        _late(".perceptual_inception", "set_fid"),
        weights=_INCEPTION,
        of_set=True,
        higher_is_better=False,
    ),
    Metric(
        "top1_concept",
        "nearest image shows what was asked for",
        "",
        1.0,
        set_top1_concept,
        weights=_GALLERY,
        of_set=True,
    ),
)


def score_record(
    reference: Record, test: Record, guidance: float, *, prompts: Sequence[str] = (), weights: Path | None = None
) -> dict[str, Score]:
    """Every metric's score by its name. `weights` is the folder with the networks that some metrics need."""
    pairs = list(zip(_generations(reference, guidance, prompts), _generations(test, guidance, prompts), strict=True))
    return {metric.name: _score(metric, pairs, weights) for metric in METRICS}


def _generations(record: Record, guidance: float, prompts: Sequence[str]) -> list[Generation]:
    count, outputs = len(record.pixels), record.model_outputs
    texts = [*prompts, *[""] * (count - len(prompts))]
    latents = [None] * count if record.latents is None else list(record.latents)
    halves = [None] * count if outputs is None else list(outputs)
    guided = [None if half is None else _guided(half, guidance) for half in halves]
    return [
        Generation(record.pixels[index], latents[index], guided[index], halves[index], texts[index])
        for index in range(count)
    ]


def _guided(outputs: FloatArray, guidance: float) -> FloatArray:
    """(S, 4, h, w) from both halves (S, 2, 4, h, w), or from one (S, 1, 4, h, w) as it is."""
    return outputs[:, 0] if outputs.shape[1] == 1 else guide(outputs[:, 0], outputs[:, 1], guidance)


def _score(metric: Metric, pairs: Sequence[tuple[Generation, Generation]], weights: Path | None) -> Score:
    try:
        compute = _with_weights(metric, weights)
        if metric.of_set:
            return _set_score(compute([reference for reference, _ in pairs], [test for _, test in pairs]))
        values = [compute(reference, test) for reference, test in pairs]
        curves = [metric.curve(reference, test) for reference, test in pairs] if metric.curve is not None else []
    except NotComputedError as refusal:
        return _missing_score(str(refusal))
    if any(math.isnan(value) or value == -math.inf for value in values):
        return _missing_score("an image's figure is not a number")
    return _prompts_score(metric, values, curves)


def _with_weights(metric: Metric, weights: Path | None) -> Callable[..., float]:
    if metric.weights is None:
        return metric.compute
    path = None if weights is None else weights / metric.weights
    if path is None or not path.exists():
        raise NotComputedError("weights absent")
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        fault = weight_fault(file) if file.suffix in WEIGHT_SUFFIXES else None
        if fault is not None:
            raise NotComputedError(fault)
    return lambda reference, test: metric.compute(reference, test, path)


def _prompts_score(metric: Metric, values: Sequence[float], curves: Sequence[Sequence[float]]) -> Score:
    lower, upper = median_interval(values)
    tail = 0.05 if metric.higher_is_better else 0.95  # the bad end, whichever it is
    summary = {"median": quantile(values, 0.5), "p5": quantile(values, tail)}
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


def _set_score(value: float) -> Score:
    """Of a metric that has one value for all images together."""
    reasons = dict.fromkeys(("per_prompt", "p5", "ci95"), "one figure for the whole set")
    return {
        "per_prompt": None,
        "identical": False,
        "median": _finite(value),
        "p5": None,
        "ci95": None,
        "reasons": reasons,
    }


def _missing_score(reason: str) -> Score:
    """A score that there is not, and why."""
    reasons = dict.fromkeys(("per_prompt", "median", "p5", "ci95"), reason)
    return {"per_prompt": None, "identical": False, "median": None, "p5": None, "ci95": None, "reasons": reasons}


def _finite(value: float) -> float | None:
    """JSON has no infinity: null stands for it, and `reasons` or `identical` say so."""
    return None if math.isinf(value) else round(value, 6)
