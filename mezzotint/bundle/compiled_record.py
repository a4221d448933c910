"""What a GPU's compiler said of a graph: a record in the bundle's manifest."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CompiledRecord:
    """A component as it was compiled for one compute capability ("8.9").

    `state` says how far the proof goes: "built, never run" of an engine that no GPU has run. `coverage` is the share of
    the multiplications called 8-bit that are compiled to 8-bit kernels, `share` that of all; both between 0 and 1.
    """

    compiler: str
    compute_capability: str
    state: str
    layers: int
    engine_bytes: int
    coverage: float
    share: float
    attentions: int
    fused_attentions: int
