"""Jobs as our own API shows them."""

from typing import Any

from ..jobs.job import Job, State
from ..jobs.spool import JobImage
from ..jobs.studio import Studio


def job_view(studio: Studio, job: Job) -> dict[str, Any]:
    """All that a client may see of its job."""
    first = job.order.settings[0]
    return {
        "id": job.id,
        "status": str(job.state),
        "kind": str(job.order.kind),
        "model": job.model,
        "prompt": first.prompt,
        "seed": first.seed,
        "count": len(job.order.settings),
        "queue_position": studio.position(job),
        "eta_s": None if job.has_ended else round(studio.eta_s(job), 1),
        "progress": {"step": job.done_steps, "steps": job.steps},
        "images": _images(job),
        "milliseconds": {name: round(value, 1) for name, value in job.milliseconds.items()},
        "warnings": list(job.warnings),
        "is_interrupted": job.is_interrupted,
        "code": None if job.why is None else str(job.why),
        "reason": job.reason,
    }


def _images(job: Job) -> list[dict[str, Any]]:
    if job.state is not State.DONE:
        return []
    return [
        _image(f"/api/v1/jobs/{job.id}/images/{index}.{job.order.format}", one) for index, one in enumerate(job.images)
    ]


def _image(url: str, image: JobImage) -> dict[str, Any]:
    about = image.read_about()
    return {
        "url": url,
        "width": image.width,
        "height": image.height,
        "seed": about.settings["seed"],
        "settings": about.settings,
        "parameters": about.parameters,
    }
