"""How a worker loads its bundle."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """See `Pipeline.load`; None for `threads` is all cores."""

    backend: str = "auto"
    threads: int | None = None
    low_memory: bool = False
