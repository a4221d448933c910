"""The per-node table: what quantization decided of every node of a UNet, read from unet/quantization.json."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mezzotint.errors import MezzotintError

from ..cases.case import Case
from ..results import NodeRow

__all__ = ["node_rows", "scheme_counts"]


def node_rows(case: Case) -> tuple[list[NodeRow] | None, str]:
    """(a row for each node, by name, ""), or (None, why there are none)."""
    path = Path(case.source) / "unet" / "quantization.json"
    if case.kind != "bundle" or case.quantized or not path.is_file():
        return None, "nothing in it was quantized node by node"
    try:
        nodes = json.loads(path.read_text(encoding="utf-8"))
        return [_row(name, nodes[name]) for name in sorted(nodes)], ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MezzotintError(f"{path} does not say what was done to each node ({error!r}); quantize again") from None


def _row(name: str, decision: dict[str, object]) -> NodeRow:
    activation = decision.get("activation")
    bounds = [activation["low"], activation["high"]] if isinstance(activation, dict) else None
    method = decision.get("range_method")
    row: NodeRow = {
        "name": name,
        "scheme": str(decision["scheme"]),
        "rule": str(decision["rule"]),
        "range_method": None if method is None else str(method),
        "range": None if bounds is None else [float(f"{bound:.6g}") for bound in bounds],
    }
    evidence = decision.get("evidence")
    if isinstance(evidence, dict):
        row["evidence"] = {
            "activation_sqnr_db": evidence["activation_sqnr_db"],
            "weight_sqnr_db": evidence["weight_sqnr_db"],
            "macs": evidence["macs"],
            "gain_ms": evidence["gain_ms"],
        }
    return row


def scheme_counts(rows: Sequence[NodeRow]) -> str:
    """Such as "98 w8a8, 33 w8"."""
    counts = Counter(row["scheme"] for row in rows)
    return ", ".join(f"{count} {scheme}" for scheme, count in counts.most_common())
