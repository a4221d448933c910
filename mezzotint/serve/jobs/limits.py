"""How much a server takes on: queue, results, and how long things may take."""

from dataclasses import dataclass

from ..fields.bounds import bounded


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """Of the queue and its results."""

    pending: int = bounded(64, least=1, most=10_000, about="Jobs that may wait or run at once; beyond: 429.")
    pending_per_key: int = bounded(16, least=1, most=10_000, about="The same of one key, where keys are used.")
    job_s: float = bounded(1800.0, least=1, about="How long a job may run; then it is cancelled.")
    hang_s: float = bounded(60.0, least=0.1, about="How long after that a worker that does not answer lives.")
    result_s: float = bounded(600.0, least=1, about="How long results are kept.")
    result_megabytes: int = bounded(256, least=1, about="How much results may take; the oldest go first.")
    result_jobs: int = bounded(4096, least=1, about="Ended jobs that are kept; the oldest go first.")
