"""Figures for Prometheus. A prompt or a key is never a label."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mezzotint import __version__

from ..jobs.job import Job
from ..jobs.observer import Observer
from ..jobs.slots import Readiness
from ..jobs.studio import Studio
from .spans import record_job

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 600)


class Metrics(Observer):
    """Counts what the studio does. Each server has figures of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry, "namespace": "mezzotint"}
        self._jobs = Counter("jobs", "Jobs that ended.", ("kind", "status", "model"), **own)
        self._rejected = Counter("rejected", "Requests that were turned away.", ("reason",), **own)
        self._steps = Counter("unet_steps", "Denoising steps.", ("model",), **own)
        self._waited = Histogram("queue_wait_seconds", "From the queue to a worker.", buckets=_SECONDS, **own)
        self._took = Histogram("job_seconds", "From the queue to the images.", ("model",), buckets=_SECONDS, **own)
        self._parts = Histogram("component_seconds", "By component.", ("component",), buckets=_SECONDS, **own)
        self._loads = Histogram("model_load_seconds", "Loading a model.", ("model",), buckets=_SECONDS, **own)
        Gauge("build_info", "The version.", ("version",), **own).labels(__version__).set(1)

    def watch(self, studio: Studio) -> None:
        """Show the studio's state whenever figures are asked for."""
        self.registry.register(_States(studio))

    def started(self, job: Job) -> None:
        """Counts the time in the queue."""
        self._waited.observe((job.started_s or job.queued_s) - job.queued_s)

    def ended(self, job: Job) -> None:
        """Counts a job and its components, and records its spans."""
        self._jobs.labels(str(job.order.kind), str(job.state), job.model).inc()
        self._steps.labels(job.model).inc(job.done_steps)
        self._took.labels(job.model).observe((job.ended_s or job.queued_s) - job.queued_s)
        for name, milliseconds in job.milliseconds.items():
            self._parts.labels(name).observe(milliseconds / 1e3)
        record_job(job, self.clock())

    def rejected(self, reason: str) -> None:
        """Counts a request that was turned away."""
        self._rejected.labels(reason).inc()

    def loaded(self, model: str, seconds: float) -> None:
        """Counts a load."""
        self._loads.labels(model).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus's format."""
        return generate_latest(self.registry)


class _States(Collector):
    """What there is now."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def collect(self) -> Iterator[GaugeMetricFamily]:
        studio = self.studio
        depth = len(studio.queue)
        yield GaugeMetricFamily("mezzotint_queue_depth", "Jobs that wait.", value=depth)
        yield GaugeMetricFamily("mezzotint_jobs_running", "Jobs that workers have.", value=len(studio.slots.busy()))
        yield GaugeMetricFamily("mezzotint_idle_seconds", "Since the last work.", value=studio.idle_s)
        states = GaugeMetricFamily("mezzotint_model_state", "1 for the state of each model.", labels=("model", "state"))
        for name in studio.registry.models:
            for state in Readiness:
                states.add_metric((name, str(state)), float(studio.slots.readiness(name) is state))
        yield states
        memory = GaugeMetricFamily("mezzotint_worker_resident_bytes", "Memory of workers.", labels=("model",))
        for slot in studio.slots:
            memory.add_metric((slot.model.name,), slot.resident_bytes)
        yield memory
