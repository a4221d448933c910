"""A server out of its configuration: models, keys, studio and application."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from mezzotint.errors import MezzotintError

from ..config.service import ServiceConfig
from ..jobs.desk import Plans
from ..jobs.keep import Keep
from ..jobs.observer import Several
from ..jobs.studio import Studio
from ..models.registry import Registry
from ..web.buckets import Buckets
from ..web.front import Front
from ..web.gate import LOOPBACK, Admission
from ..web.job_log import JobLog
from ..web.keys import Keys
from ..web.metrics import Metrics
from ..work.engine_options import EngineChoice
from ..work.process import ProcessWorker
from ..work.worker import StartsWorker
from .app import make_app

_LOOPBACK_ADDRESSES = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Built:
    """The parts of a server that others get at."""

    config: ServiceConfig
    front: Front
    app: ASGIApp
    keep: Keep | None = None

    @property
    def studio(self) -> Studio:
        """Where its jobs are."""
        return self.front.studio


def build(
    config: ServiceConfig, *, start_worker: StartsWorker | None = None, clock: Callable[[], float] = time.monotonic
) -> Built:
    """Everything but the sockets. Raises MezzotintError for what cannot be served, or not safely."""
    keys = Keys() if config.keys_file is None else Keys.read(Path(config.keys_file))
    _check_open(config, keys)

    def scan() -> Registry:
        return Registry.scan([Path(place) for place in config.bundles], config.default_model)

    registry = scan()
    preload = [registry.find(name).name for name in config.preload]
    metrics = Metrics(clock)
    keep = None if config.keep is None else Keep.at(Path(config.keep))
    log = JobLog(with_prompts=config.log_prompts)
    observer = Several(metrics, log, *(() if keep is None else (keep,)))
    studio = Studio(registry, start_worker or _processes(config), _plans(config), observer=observer, clock=clock)
    metrics.watch(studio)
    front = Front(
        studio=studio,
        keys=keys,
        limits=config.limits,
        buckets=Buckets(config.limits.requests_per_minute, clock),
        name=config.name,
        preload=tuple(preload),
        rescan=scan,
    )
    admission = Admission(
        keys=keys,
        hosts=(*LOOPBACK, *(name.lower() for name in (config.host, *config.allowed_hosts) if name != "0.0.0.0")),
        origins=config.cors_origins,
        open_paths=("/metrics",) if config.metrics_public else (),
        rejected=metrics.rejected,
    )
    return Built(config, front, make_app(front, metrics, admission), keep)


def _check_open(config: ServiceConfig, keys: Keys) -> None:
    if config.host not in _LOOPBACK_ADDRESSES and keys.is_open and not config.no_auth:
        raise MezzotintError(
            f"{config.host} can be reached from other machines, and no keys are set; pass --keys FILE, or --no-auth to "
            "let everybody ask"
        )


def _plans(config: ServiceConfig) -> Plans:
    budget = config.memory_megabytes
    return Plans(
        lanes=config.lanes,
        memory_bytes=None if budget is None else budget * 1_000_000,
        unload_s=config.idle.unload_s,
        limits=config.queue,
    )


def _processes(config: ServiceConfig) -> StartsWorker:
    engine = EngineChoice(backend=config.backend, threads=config.threads, low_memory=config.low_memory)
    return lambda bundle, profile: ProcessWorker(bundle, engine, profile)
