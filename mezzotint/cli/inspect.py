"""`mezzotint inspect`."""

import json
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.decisions import DECISIONS_FILE, decision_data, read_decisions
from mezzotint.bundle.declined import DECLINED_FILE, Declines, read_declines
from mezzotint.bundle.manifest import Component, Manifest
from mezzotint.bundle.records import record_data
from mezzotint.engines.rtx.prebuilt import shapes_text
from mezzotint.errors import MezzotintError

from .lines.compiled_text import compiled_lines
from .lines.profile_lines import profile_lines
from .lines.shallow_lines import shallow_lines
from .lines.source_lines import adapter_lines, control_lines, source_lines, word_lines
from .options import AsJson, BundlePath
from .terminal import STDOUT, write_json

_WHY = "Explain the quantization decision of each node whose name contains this text, as JSON."


def inspect(
    bundle: BundlePath,
    explain: Annotated[str | None, typer.Option(help=_WHY)] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a bundle and how it was made."""
    opened = Bundle.open(bundle)
    if explain is not None:
        write_json(explain_node(opened, explain))
    elif as_json:
        write_json(json.loads(opened.manifest.to_json()))
    else:
        STDOUT.print(component_table(opened))
        declined = declined_table(opened)
        if declined is not None:
            STDOUT.print(declined)


def component_table(bundle: Bundle) -> Group:
    """Where the bundle came from, and a line for every component."""
    manifest = bundle.manifest
    variants = "".join(f", {variant} weights of {name}" for name, variant in manifest.source.variants.items())
    head = [
        f"{manifest.family}, recipe {manifest.recipe}, target {manifest.target}",
        f"source {manifest.source.name} (sha256 {manifest.source.sha256[:12]}){variants}",
        *source_lines(manifest.source),
        *(f"{name} of {one.name} (sha256 {one.sha256[:12]})" for name, one in manifest.replaced.items()),
        *adapter_lines(manifest),
        *word_lines(manifest),
        *control_lines(manifest),
        f"calibration: {_calibration(manifest.calibration)}",
        *(f"{name} is approximated: {', '.join(one.approximations)}" for name, one in _approximated(manifest)),
        *shallow_lines(manifest),
        f"needs of the CPU: {', '.join(manifest.cpu_features).replace('|', ' or ') or 'nothing special'}",
    ]
    table = Table("component", "storage", "computes in", "MB", "checked against", "dB")
    for name, component in manifest.components.items():
        megabytes = sum(entry.bytes for entry in component.files) / 1e6
        against, figure = _parity(component)
        table.add_row(name, component.storage, component.compute, f"{megabytes:.1f}", against, figure)
    tail = [f"{name} {line}" for name, component in manifest.components.items() for line in compiled_lines(component)]
    tail += [f"{name}: {one.four_bits}" for name, one in manifest.components.items() if one.four_bits is not None]
    tail += [
        f"{name} has an engine for {', '.join(one.compute_capabilities)}, {shapes_text(one.shapes)} ({one.compiler})"
        for name, component in manifest.components.items()
        for one in component.engines
    ]
    return Group(*(Text(line) for line in head), table, *(Text(line) for line in (*tail, *profile_lines(manifest))))


def _approximated(manifest: Manifest) -> list[tuple[str, Component]]:
    return [(name, one) for name, one in manifest.components.items() if one.approximations]


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


def _parity(component: Component) -> tuple[str, str]:
    parity = component.parity
    if parity is None:
        return "not checked", ""
    return parity.against, "identical" if parity.identical else f"{parity.sqnr_db}"


def _calibration(record: CalibrationRecord | None) -> str:
    if record is None:
        return "none"
    items = record_data(record).items()
    return ", ".join(f"{key} {str(value)[:12] if key.endswith('sha256') else value}" for key, value in items)
