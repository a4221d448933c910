"""What `mezzotint inspect` and `mezzotint audit` show of a bundle."""

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.decisions import DECISIONS_FILE, decision_data, read_decisions
from mezzotint.bundle.declined import DECLINED_FILE, Declines, read_declines
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.records import record_data
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle

if TYPE_CHECKING:  # `inspect` works where nothing but the runtime is installed
    from mezzotint.quantize import Audit

__all__ = ["audit_json", "audit_table", "component_table", "declined_lines", "declined_table", "explain_node"]


def component_table(bundle: Bundle) -> Group:
    """Where the bundle came from, and a line for every component."""
    manifest = bundle.manifest
    variants = "".join(f", {variant} weights of {name}" for name, variant in manifest.source.variants.items())
    head = [
        f"{manifest.family}, recipe {manifest.recipe}, target {manifest.target}",
        f"source {manifest.source.name} (sha256 {manifest.source.sha256[:12]}){variants}",
        f"calibration: {_calibration(manifest.calibration)}",
        f"needs of the CPU: {', '.join(manifest.cpu_features).replace('|', ' or ') or 'nothing special'}",
    ]
    table = Table("component", "storage", "computes in", "MB", "checked against", "dB")
    for name, component in manifest.components.items():
        megabytes = sum(entry.bytes for entry in component.files) / 1e6
        against, figure = _parity(component)
        table.add_row(name, component.storage, component.compute, f"{megabytes:.1f}", against, figure)
    return Group(*(Text(line) for line in head), table)


def explain_node(bundle: Bundle, wanted: str) -> dict[str, Any]:
    """The decisions of all nodes whose name contains `wanted`; MezzotintError when there is none, or no INT8 at all."""
    files = {name: bundle.path / name / DECISIONS_FILE for name in bundle.manifest.components}
    decisions = {name: read_decisions(path) for name, path in files.items() if path.is_file()}
    if not decisions:
        raise MezzotintError(f"{bundle.path} has no INT8 component, so there is nothing to explain")
    found = {
        f"{name}/{node}": decision_data(decision)
        for name, its_decisions in decisions.items()
        for node, decision in its_decisions.items()
        if wanted in node
    }
    if not found:
        raise MezzotintError(f"{bundle.path} has no quantizable node called {wanted!r} in {', '.join(decisions)}")
    return found


def declined_table(bundle: Bundle) -> Table | None:
    """What graph rewrites left as it was: a line for each reason of each pass; None where nothing was declined."""
    table = Table("component", "pass", "left as it was, since", "places", "the first")
    for name, declines in _declines(bundle).items():
        for rewrite, entries in declines.items():
            for reason, count in Counter(entry.reason for entry in entries).items():
                first = next(entry for entry in entries if entry.reason == reason)
                table.add_row(name, rewrite, reason, str(count), first.node)
    return table if table.row_count else None


def declined_lines(bundle: Bundle) -> list[str]:
    """The same, a line for each place, with what was there."""
    return [
        f"{name}: {rewrite} left {entry}"
        for name, declines in _declines(bundle).items()
        for rewrite, entries in declines.items()
        for entry in entries
    ]


def _declines(bundle: Bundle) -> dict[str, Declines]:
    return {name: read_declines(bundle.path / name / DECLINED_FILE) for name in bundle.manifest.components}


def audit_table(audit: "Audit") -> Group:
    """Time and multiplications by operation and precision, the slowest first, and the two figures."""
    times: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    macs: Counter[tuple[str, str]] = Counter()
    for kernel in audit.kernels:
        key = (kernel.operation, kernel.precision)
        times[key] += kernel.time_ms  # type: ignore[assignment]  # Counter's stub knows whole numbers only
        counts[key] += 1
        macs[key] += kernel.macs
    table = Table("operation", "precision", "kernels", "ms", "GMAC")
    for key, time_ms in times.most_common():
        table.add_row(*key, str(counts[key]), f"{time_ms:.2f}", f"{macs[key] / 1e9:.3f}")
    head = (
        f"{audit.component} on {audit.backend}: kept promise {audit.kept_promise:.1%} of {len(audit.promised)} nodes, "
    )
    return Group(Text(f"{head}integer share {audit.integer_share:.1%}"), table)


def audit_json(audit: "Audit") -> str:
    """Every kernel, and the two figures."""
    data = asdict(audit) | {"kept_promise": audit.kept_promise, "integer_share": audit.integer_share}
    return json.dumps(data)


def _parity(component: Component) -> tuple[str, str]:
    parity = component.parity
    if parity is None:
        return "not checked", ""
    return parity.against, "identical" if parity.identical else f"{parity.sqnr_db}"


def _calibration(record: CalibrationRecord | None) -> str:
    if record is None:
        return "none"
    return ", ".join(f"{key} {str(value)[:12]}" for key, value in record_data(record).items())
