"""All that can be set, with its default: what `service.json` holds, and what its JSON Schema is made of."""

from dataclasses import dataclass, field
from typing import Final

from mezzotint.engines.engine import MOST_THREADS
from mezzotint.engines.lineup import ENGINES

from ..fields.bounds import bounded
from ..jobs.limits import QueueLimits
from ..web.limits import RequestLimits

PORT: Final = 7860  # what clients of AUTOMATIC1111's API try first
_BACKENDS = ("auto", *(engine.name for engine in ENGINES))


@dataclass(frozen=True, kw_only=True)
class IdleTimes:
    """Only work resets these clocks: a page that is open, a probe or a poll keeps nothing awake."""

    unload_s: float | None = bounded(300.0, least=0.1, about="A model that long unused is unloaded; null: never.")
    exit_s: float | None = bounded(None, least=0.1, about="A server that long without work ends; null: never.")


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """A whole server. Paths are relative to where it is started."""

    name: str = bounded("mezzotint", longest=100, about="What the service calls itself.")
    bundles: tuple[str, ...] = bounded((), about="Bundles, or folders of bundles.")
    default_model: str | None = bounded(None, about="The model of requests that name none; null: the first.")
    preload: tuple[str, ...] = bounded((), about="Models to load at the start.")
    host: str = bounded("127.0.0.1", about="The address to listen at; beyond loopback keys are needed.")
    port: int = bounded(PORT, least=0, most=65535, about="The port; 0 is any that is free.")
    keys_file: str | None = bounded(None, about="A file of keys, one a line, or name:key.")
    no_auth: bool = bounded(False, about="Let everybody ask, even beyond loopback.")
    allowed_hosts: tuple[str, ...] = bounded((), about="Further names that requests may be addressed to; * is any.")
    cors_origins: tuple[str, ...] = bounded((), about="Pages of others that may ask, such as http://localhost:8000.")
    backend: str = bounded("auto", choices=_BACKENDS, about="The engine.")
    threads: int | None = bounded(None, least=1, most=MOST_THREADS, about="CPU threads of a worker; null: all cores.")
    low_memory: bool = bounded(False, about="Load each graph when it is needed.")
    lanes: int = bounded(1, least=1, most=64, about="Jobs that run at once, each in a worker of its own.")
    memory_megabytes: int | None = bounded(None, least=1, about="Budget of all workers; the longest unused make room.")
    keep: str | None = bounded(None, about="A folder that every finished image is written to.")
    metrics_public: bool = bounded(False, about="Show /metrics without a key.")
    log_prompts: bool = bounded(False, about="Write prompts into the log.")
    grace_s: float = bounded(30.0, least=0, about="How long running jobs may go on when the server is to stop.")
    idle: IdleTimes = field(default_factory=IdleTimes)
    queue: QueueLimits = field(default_factory=QueueLimits)
    limits: RequestLimits = field(default_factory=RequestLimits)
