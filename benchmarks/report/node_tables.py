"""The report's tables of nodes: what was quantized, which rule or search step decided, and what was known of each."""

from collections import Counter
from collections.abc import Iterator

from ..figures.formats import format_number
from ..figures.results import NodeRow, Results
from .summary import Table


def scheme_table(results: Results) -> Table:
    """How many nodes of each quantized component got which scheme, by the rule that decided."""
    counts = [
        (name, component, Counter((node["scheme"], node["rule"]) for node in nodes))
        for name, component, nodes in _with_nodes(results)
    ]
    rows = tuple(
        (name, component, scheme, rule, str(number))
        for name, component, counter in counts
        for (scheme, rule), number in counter.most_common()
    )
    headings = ("case", "component", "scheme", "rule", "nodes")
    return Table("What was quantized, and which rule decided", headings, rows, worded=4)


def node_tables(results: Results) -> list[Table]:
    """Every node of every quantized component, and what the search knew of it where one ran."""
    return [_node_table(f"{name}: {component}", nodes) for name, component, nodes in _with_nodes(results)]


def _node_table(name: str, nodes: list[NodeRow]) -> Table:
    headings: tuple[str, ...] = ("node", "scheme", "decided by", "range of the input by", "from", "to")
    is_weighed = any("evidence" in node for node in nodes)
    if is_weighed:
        headings += ("dB, activations alone", "dB, weights alone", "million multiplications", "ms gained")
    rows = tuple(_node_row(node) + (_evidence_cells(node) if is_weighed else ()) for node in nodes)
    return Table(f"Nodes of {name}", headings, rows, worded=4)


def _with_nodes(results: Results) -> Iterator[tuple[str, str, list[NodeRow]]]:
    """(case, component, its nodes)."""
    for row in results["cases"]:
        nodes: dict[str, list[NodeRow]] = {}
        for node in row["nodes"] or ():
            nodes.setdefault(node.get("component", "unet"), []).append(node)
        for component, its_nodes in nodes.items():
            yield row["name"], component, its_nodes


def _node_row(node: NodeRow) -> tuple[str, ...]:
    low, high = node["range"] or (None, None)
    bounds = (format_number(low) if low is not None else "", format_number(high) if high is not None else "")
    return (node["name"], node["scheme"], node["rule"], node["range_method"] or "", *bounds)


def _evidence_cells(node: NodeRow) -> tuple[str, ...]:
    evidence = node.get("evidence")
    if evidence is None:
        return ("",) * 4
    values = (evidence["activation_sqnr_db"], evidence["weight_sqnr_db"], evidence["macs"] / 1e6, evidence["gain_ms"])
    return tuple("" if value is None else format_number(value) for value in values)
