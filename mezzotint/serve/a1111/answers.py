"""Answers as AUTOMATIC1111's clients read them: images in base64, and `info` as JSON in a text."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mezzotint import __version__

from ..jobs.job import Job
from ..models.model import Model
from .names import sampler_label

_IMAGES = ("init_images", "mask")
_IDLE_STATE: dict[str, Any] = {
    "skipped": False,
    "interrupted": False,
    "stopping_generation": False,
    "job": "",
    "job_count": 0,
    "job_timestamp": "",
    "job_no": 0,
    "sampling_step": 0,
    "sampling_steps": 0,
}


def generated(
    job: Job, model: Model, raw: Mapping[str, Any], *, sends_images: bool, repeats_images: bool
) -> dict[str, Any]:
    """The answer of txt2img and img2img; never with a grid in front."""
    images = [base64.b64encode(image.stored.read()).decode("ascii") for image in job.images] if sends_images else []
    parameters = {name: value for name, value in raw.items() if repeats_images or name not in _IMAGES}
    return {"images": images, "parameters": parameters, "info": json.dumps(_info(job, model))}


def _info(job: Job, model: Model) -> dict[str, Any]:
    made = [image.read_about() for image in job.images]
    settings = [one.settings for one in made] or [asdict(one) for one in job.order.settings]
    first, count = settings[0], len(settings)
    return {
        "prompt": first["prompt"],
        "all_prompts": [one["prompt"] for one in settings],
        "negative_prompt": first["negative_prompt"] or "",
        "all_negative_prompts": [one["negative_prompt"] or "" for one in settings],
        "seed": first["seed"],
        "all_seeds": [one["seed"] for one in settings],
        "subseed": first["seed"],
        "all_subseeds": [one["seed"] for one in settings],
        "subseed_strength": 0,
        "width": first["width"],
        "height": first["height"],
        "sampler_name": sampler_label(first["scheduler"]),
        "cfg_scale": first["guidance"],
        "steps": first["steps"],
        "batch_size": count,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model.name,
        "sd_model_hash": model.short_hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": first["strength"],
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [one.parameters for one in made],
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": first["clip_skip"] + 1,
        "is_using_inpainting_conditioning": model.is_for_inpainting,
        "version": f"mezzotint {__version__}",
    }


def progress(job: Job | None, eta_s: float, count: int, preview: str | None) -> dict[str, Any]:
    """The answer of progress; idle is exactly 0, "" and 0, which clients wait for."""
    if job is None:
        return {
            "progress": 0.0, "eta_relative": 0.0, "state": _IDLE_STATE, "current_image": None, "textinfo": None,
            "current_task": None,
        }  # fmt: skip
    part = job.done_steps / job.steps if job.steps else 0.0
    runs = len(job.order.batches())
    steps = job.steps // runs if job.steps else 0
    state = _IDLE_STATE | {
        "job": job.label or job.id,
        "job_count": count,
        "job_no": job.done_steps // steps if steps else 0,
        "sampling_step": job.done_steps % steps if steps else 0,
        "sampling_steps": steps,
    }
    return {
        "progress": min(0.01 + part, 1.0),
        "eta_relative": eta_s,
        "state": state,
        "current_image": preview,
        "textinfo": None,
        "current_task": job.label or job.id,
    }
