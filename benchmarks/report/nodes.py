"""The per-node table: what quantization decided of every node of a bundle's components."""

from pathlib import Path

from mezzotint.affine import Quantizer
from mezzotint.bundle.decisions import DECISIONS_FILE, Decision, Evidence, read_decisions

from ..cases.case import Case
from ..figures.results import EvidenceRow, NodeRow


def node_rows(case: Case) -> tuple[list[NodeRow] | None, str]:
    """(a row for each node, by component and name, ""), or (None, why there are none).

    MezzotintError for a file of decisions that cannot be read.
    """
    is_whole = case.kind in ("bundle", "stand-in") and not case.quantized
    files = sorted(Path(case.source).glob(f"*/{DECISIONS_FILE}")) if is_whole else []
    if not files:
        return None, "nothing in it was quantized node by node"
    return [
        _row(path.parent.name, decision) for path in files for _, decision in sorted(read_decisions(path).items())
    ], ""


def _row(component: str, decision: Decision) -> NodeRow:
    row: NodeRow = {
        "component": component,
        "name": decision.node,
        "scheme": decision.scheme.value,
        "rule": decision.rule,
        "range_method": decision.range_method,
        "range": None if decision.activation is None else _range(decision.activation),
    }
    if decision.evidence is not None:
        row["evidence"] = _evidence(decision.evidence)
    return row


def _range(quantizer: Quantizer) -> list[float]:
    """[low, high]."""
    grid, zero_point, scale = quantizer.integer, int(quantizer.zero_point), float(quantizer.scale)
    return [float(f"{(code - zero_point) * scale:.6g}") for code in (grid.q_min, grid.q_max)]


def _evidence(evidence: Evidence) -> EvidenceRow:
    return {
        "activation_sqnr_db": evidence.activation_sqnr_db,
        "weight_sqnr_db": evidence.weight_sqnr_db,
        "macs": evidence.macs,
        "gain_ms": None if evidence.gain_ms is None else round(evidence.gain_ms, 4),
    }
