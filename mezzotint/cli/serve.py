"""`mezzotint serve`: a page with a prompt box, and the APIs that clients speak already."""

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.engines.lineup import ENGINES
from mezzotint.errors import MezzotintError
from mezzotint.serve.config.service import PORT, ServiceConfig
from mezzotint.serve.config.sources import config_schema, read_config

from .options import pick
from .terminal import STDERR, write_json

_BACKENDS = ("auto", *(engine.name for engine in ENGINES))
_LISTEN, _MODELS, _LIFE, _ACCESS = "Address", "Models", "Life", "Access"

Bundles = Annotated[
    list[str] | None, typer.Argument(help="Bundles, or folders of bundles (default: bundles/).", show_default=False)
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A service.json; flags and environment win over it.")]
Host = Annotated[str | None, typer.Option(help="Address to listen at (default: 127.0.0.1).", rich_help_panel=_LISTEN)]
Port = Annotated[int | None, typer.Option(help=f"Port; 0 is any (default: {PORT}).", rich_help_panel=_LISTEN)]
DefaultModel = Annotated[str | None, typer.Option(help="Model of requests that name none.", rich_help_panel=_MODELS)]
Preload = Annotated[list[str] | None, typer.Option(help="A model to load at the start.", rich_help_panel=_MODELS)]
Backend = Annotated[str | None, pick("--backend", _BACKENDS, "Engine", panel=_MODELS)]
Threads = Annotated[int | None, typer.Option(help="CPU threads of a worker.", rich_help_panel=_MODELS)]
Lanes = Annotated[int | None, typer.Option(help="Jobs that run at once (default: 1).", rich_help_panel=_MODELS)]
Memory = Annotated[
    int | None, typer.Option("--memory", help="Megabytes that loaded models may take.", rich_help_panel=_MODELS)
]
LowMemory = Annotated[
    bool | None, typer.Option("--low-memory", help="Load each graph when needed.", rich_help_panel=_MODELS)
]
UnloadAfter = Annotated[
    float | None, typer.Option(help="Seconds until an unused model is unloaded (default: 300).", rich_help_panel=_LIFE)
]
ExitAfter = Annotated[
    float | None,
    typer.Option(help="Seconds without work until the server ends (default: never).", rich_help_panel=_LIFE),
]
Grace = Annotated[
    float | None, typer.Option(help="Seconds that a running job has at the end (default: 30).", rich_help_panel=_LIFE)
]
Keep = Annotated[str | None, typer.Option(help="A folder for every finished image.", rich_help_panel=_LIFE)]
KeysFile = Annotated[str | None, typer.Option("--keys", help="A file of keys, one a line.", rich_help_panel=_ACCESS)]
NoAuth = Annotated[
    bool | None, typer.Option("--no-auth", help="No keys, even beyond loopback.", rich_help_panel=_ACCESS)
]
AllowedHosts = Annotated[
    list[str] | None, typer.Option("--allowed-host", help="A further name of this server.", rich_help_panel=_ACCESS)
]
Origins = Annotated[
    list[str] | None, typer.Option("--cors-origin", help="A page of others that may ask.", rich_help_panel=_ACCESS)
]
MetricsPublic = Annotated[
    bool | None, typer.Option("--metrics-public", help="/metrics without a key.", rich_help_panel=_ACCESS)
]
LogPrompts = Annotated[
    bool | None, typer.Option("--log-prompts", help="Write prompts into the log.", rich_help_panel=_ACCESS)
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show every setting and where it comes from.")]
Schema = Annotated[bool, typer.Option("--schema", help="Show the JSON Schema of service.json.")]


def serve(
    bundles: Bundles = None,
    *,
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    default_model: DefaultModel = None,
    preload: Preload = None,
    backend: Backend = None,
    threads: Threads = None,
    lanes: Lanes = None,
    memory: Memory = None,
    low_memory: LowMemory = None,
    unload_after: UnloadAfter = None,
    exit_after: ExitAfter = None,
    grace: Grace = None,
    keep: Keep = None,
    keys: KeysFile = None,
    no_auth: NoAuth = None,
    allowed_host: AllowedHosts = None,
    cors_origin: Origins = None,
    metrics_public: MetricsPublic = None,
    log_prompts: LogPrompts = None,
    print_config: PrintConfig = False,
    schema: Schema = False,
) -> None:
    """Serve bundles: a page with a prompt box, and the APIs that clients speak already."""
    if schema:
        write_json(config_schema())
        return
    models = {"default_model": default_model, "preload": preload or None, "backend": backend, "threads": threads}
    memories = {"lanes": lanes, "memory_megabytes": memory, "low_memory": low_memory}
    life = {"idle.unload_s": unload_after, "idle.exit_s": exit_after, "grace_s": grace, "keep": keep}
    access = {"keys_file": keys, "no_auth": no_auth, "allowed_hosts": allowed_host or None}
    shown = {"cors_origins": cors_origin or None, "metrics_public": metrics_public, "log_prompts": log_prompts}
    listen = {"bundles": bundles or None, "host": host, "port": port}
    sourced = read_config(config, os.environ, {**listen, **models, **memories, **life, **access, **shown})
    if print_config:
        write_json(sourced.printed())
        return
    _run(sourced.config)


def _run(config: ServiceConfig) -> None:
    from dataclasses import replace

    from mezzotint.serve.server.build import build
    from mezzotint.serve.server.run import listening
    from mezzotint.serve.server.run import serve as run_server

    built = build(config if config.bundles else replace(config, bundles=("bundles",)))
    try:
        sockets = listening(built)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MezzotintError(
            f"cannot listen at {config.host}:{config.port} ({reason}); choose another --port"
        ) from None
    _log_to_stderr()
    for listener in sockets:
        STDERR.print(
            f"serving {', '.join(built.studio.registry.models)} at {_address(listener.getsockname())}", markup=False
        )
    for name, sentence in built.studio.registry.broken.items():
        STDERR.print(f"warning: {name} is left out: {sentence}", markup=False)
    run_server(built, sockets, on_stop=partial(_tell_stop, config.grace_s) if sys.stderr.isatty() else None)


def _tell_stop(grace_s: float) -> None:
    STDERR.print(f"stopping; running jobs have {grace_s:g} s, and Ctrl-C ends at once", markup=False)


def _address(name: object) -> str:
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"http://{host}:{name[1]}"
    return str(name)


def _log_to_stderr() -> None:
    """A line of JSON for each request on a log that is no terminal, and warnings alone on one that is."""
    from mezzotint.serve.web.request_log import JsonLines

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    log = logging.getLogger("mezzotint.serve")
    log.addHandler(handler)
    log.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    log.propagate = False
