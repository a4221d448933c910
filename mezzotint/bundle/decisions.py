"""What quantization decided of each node: `<component>/quantization.json`, read and written here alone.

A `Decision` is a scheme with the rule that decided and, for W8A8, the quantizers of the node's input and output.
Decisions know no target: calibration makes them once, and a *lowering* turns them into a graph for one engine. Reading
them takes numpy and nothing else, so that a bundle can be inspected and reported where it cannot be made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.affine import FLOAT8, INT8_SYMMETRIC, UINT8, Quantizer
from mezzotint.errors import MezzotintError

from .precision import NodeScheme
from .records import LEFT_OUT, parse_record, record_data

DECISIONS_FILE = "quantization.json"  # in a component's folder
_GRIDS = {grid.dtype: grid for grid in (UINT8, INT8_SYMMETRIC, FLOAT8)}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What W8A8 costs and brings at one node, gathered when a search runs.

    SQNR is at the component's output (guided, for a UNet) with nothing else quantized; None: no noise at all. Times
    are one call's on the target; None where it cannot run here.
    """

    activation_sqnr_db: float | None
    weight_sqnr_db: float | None
    macs: int
    float_ms: float | None
    integer_ms: float | None

    @property
    def gain_ms(self) -> float | None:
        """What INT8 saves."""
        return None if self.float_ms is None or self.integer_ms is None else self.float_ms - self.integer_ms


@dataclass(frozen=True, kw_only=True)
class SearchStep:
    """A node that the search took out, and what it knew then."""

    node: str
    number: int
    noise: float  # with its activations alone in INT8, relative to the output's energy
    gain_db: float
    cost: float  # milliseconds lost, or multiplications where no time can be measured
    before_db: float


@dataclass(frozen=True)
class Decision:
    """One node's fate. The quantizers are None unless the scheme is W8A8, and of an attention's scores."""

    node: str
    scheme: NodeScheme
    rule: str
    activation: Quantizer | None = None
    output: Quantizer | None = None
    range_method: str | None = None
    smoothing_alpha: float | None = None  # of SmoothQuant; None: the input cannot be smoothed for free
    evidence: Evidence | None = field(default=None, metadata=LEFT_OUT)
    step: SearchStep | None = field(default=None, metadata=LEFT_OUT)  # of the search, when it decided
    query_scales: tuple[float, ...] = field(default=(), metadata=LEFT_OUT)  # of an attention: S8, one a head
    key_scales: tuple[float, ...] = field(default=(), metadata=LEFT_OUT)
    group: int | None = field(default=None, metadata=LEFT_OUT)  # of W4: so many input channels share a scale
    rank: int | None = field(default=None, metadata=LEFT_OUT)  # of the 16-bit branch that corrects 4-bit weights
    fallback: str | None = field(
        default=None, metadata=LEFT_OUT
    )  # on a target that computes in FP16: why the floats around it are FP32

    def in_floats(self) -> "Decision":
        """What becomes of the node when it is taken out of INT8."""
        return replace(self, scheme=NodeScheme.W8, activation=None, output=None, query_scales=(), key_scales=())


Decisions = dict[str, Decision]  # by node name, in the graph's order


def read_decisions(path: Path) -> Decisions:
    """The decisions of a component whose file is at `path`, by node name; none where there is no file.

    MezzotintError names the node and the field that cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise MezzotintError(f"{path} does not say what was done to each node ({error}); quantize again") from None
    if not isinstance(data, dict):
        raise MezzotintError(f"{path} holds {type(data).__name__}, expected an object; quantize again")
    return {node: _decision(node, one, f"{path}: {node}") for node, one in data.items()}


def write_decisions(decisions: Mapping[str, Decision], path: Path) -> None:
    """Write the file of a component; its folder is made when it is not there."""
    data = {name: decision_data(decision) for name, decision in decisions.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _decision(node: str, data: Any, where: str) -> Decision:
    named = {**data, "node": node} if isinstance(data, dict) else data
    return parse_record(Decision, named, where, {Quantizer: _quantizer, Evidence: _evidence})


def decision_data(decision: Decision) -> dict[str, Any]:
    """A node's entry in the file."""
    data: dict[str, Any] = record_data(decision, {Quantizer: _quantizer_data, Evidence: _evidence_data})
    del data["node"]
    return data


def _quantizer_data(quantizer: Quantizer) -> dict[str, Any]:
    """With the range that the codes stand for, for who reads the file."""
    scale, zero_point, grid = float(quantizer.scale), int(quantizer.zero_point), quantizer.integer
    low, high = ((code - zero_point) * scale for code in (grid.q_min, grid.q_max))
    return {"dtype": grid.dtype, "scale": scale, "zero_point": zero_point, "low": low, "high": high}


@dataclass(frozen=True, kw_only=True)
class _Range:
    """A quantizer as the file has it."""

    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float


def _quantizer(data: Any, where: str) -> Quantizer:
    stated = parse_record(_Range, data, where)
    grid = _GRIDS.get(stated.dtype)
    if grid is None or not grid.q_min <= stated.zero_point <= grid.q_max:
        raise MezzotintError(
            f"{where}: expected {' or '.join(_GRIDS)} and a zero point in its range, got {stated.dtype!r:.40} and "
            f"{stated.zero_point}; quantize again"
        )
    return Quantizer(np.asarray(np.float32(stated.scale)), np.asarray(stated.zero_point, dtype=grid.zero_dtype), grid)


def _evidence_data(evidence: Evidence) -> dict[str, Any]:
    gain_ms = evidence.gain_ms
    return {**record_data(evidence), "gain_ms": None if gain_ms is None else round(gain_ms, 4)}


def _evidence(data: Any, where: str) -> Evidence:
    """Without what follows from the rest."""
    kept = {name: value for name, value in data.items() if name != "gain_ms"} if isinstance(data, dict) else data
    return parse_record(Evidence, kept, where)
