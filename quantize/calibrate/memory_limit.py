"""Calibration under a memory limit: the tensors to observe are shared out among several instrumented graphs.

Figures are taken where a tensor is made, but an engine is free to keep every observed tensor until the call's end.
So a group may hold what the limit leaves after the graph itself: its weights, which an engine packs anew while the old
ones are still there, its activations, and the process around them.
"""

import re
from collections.abc import Mapping, Sequence

from mezzotint.errors import MezzotintError

from .statistics import Probe

_PROCESS_BYTES = 500_000_000  # Python, the engine and what quantizing imports, measured
_WEIGHTS = 1.2  # of their size, at the peak of loading, measured
_ACTIVATIONS = 0.45  # of the observed tensors' size: those of one graph that are alive together, measured
_UNITS = {"": 1, "B": 1, "MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as "6GB", "512MiB" or "6000000000"."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise MezzotintError(f"got the size {text!r}, expected bytes or a number with MB, GB, MiB or GiB, such as 6GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def room_beside(limit_bytes: int, weight_bytes: int) -> int:
    """What the limit leaves beside an FP32 graph that nothing is observed in; may be less than nothing."""
    return limit_bytes - int(_PROCESS_BYTES + _WEIGHTS * weight_bytes)


def groups_within(
    limit_bytes: int, weight_bytes: int, probes: Sequence[Probe], tensor_bytes: Mapping[str, int]
) -> list[list[Probe]]:
    """The probes in their order, in groups that fit beside the graph. MezzotintError when one alone does not."""
    total = sum(tensor_bytes[probe.tensor] for probe in probes)
    graph_bytes = int(_PROCESS_BYTES + _WEIGHTS * weight_bytes + _ACTIVATIONS * total)
    room = limit_bytes - graph_bytes
    largest = max((tensor_bytes[probe.tensor] for probe in probes), default=0)
    if largest > room:
        raise MezzotintError(
            f"the memory limit is {limit_bytes / 1e9:.2f} GB, and calibration needs {graph_bytes / 1e9:.2f} GB for the "
            f"FP32 graph and {largest / 1e9:.2f} GB for its largest tensor; "
            f"pass at least --memory-limit {(graph_bytes + largest) / 1e9 + 0.01:.2f}GB"
        )
    groups: list[list[Probe]] = [[]]
    taken = 0
    for probe in probes:
        size = tensor_bytes[probe.tensor]
        if taken + size > room:
            groups.append([])
            taken = 0
        groups[-1].append(probe)
        taken += size
    return groups
