"""A line of JSON for each job that ends. The prompt is part of it only where that was asked for."""

import logging
from typing import Any

from ..jobs.job import Job
from ..jobs.observer import Observer

_LOG = logging.getLogger("mezzotint.serve")


class JobLog(Observer):
    """Writes the lines."""

    def __init__(self, *, with_prompts: bool) -> None:
        self.with_prompts = with_prompts

    def ended(self, job: Job) -> None:
        """What became of it, and how long it waited and ran."""
        started_s = job.ended_s if job.started_s is None else job.started_s
        fields: dict[str, Any] = {
            "job": job.id,
            "owner": job.owner,
            "model": job.model,
            "kind": str(job.order.kind),
            "status": str(job.state),
            "images": len(job.images),
            "waited_s": round((started_s or job.queued_s) - job.queued_s, 3),
            "seconds": round((job.ended_s or job.queued_s) - (started_s or job.queued_s), 3),
            "reason": job.reason,
        }
        if self.with_prompts:
            first = job.order.settings[0]
            fields |= {"prompt": first.prompt, "negative_prompt": first.negative_prompt, "seed": first.seed}
        _LOG.info("job", extra={"fields": fields})
