"""`mezzotint audit`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.rtx.library import CAPABILITIES, capabilities_of
from mezzotint.families.lineup import family_of

from .options import AsJson, BundlePath, pick
from .terminal import STDOUT, write_json

if TYPE_CHECKING:
    from mezzotint.quantize import Audit
    from mezzotint.quantize.verify.audit_tensorrt import CompiledAudit
    from mezzotint.runtime import Bundle

_BACKENDS = ("auto", *(engine.name for engine in ENGINES))
_CAPABILITY = f"For tensorrt: compute capabilities of {', '.join(CAPABILITIES)}, joined by commas."


def audit(
    bundle: BundlePath,
    backend: Annotated[str, pick("--backend", _BACKENDS, "Engine to run on")] = "auto",
    component: Annotated[str | None, typer.Option(help="The component to run (default: the denoiser).")] = None,
    compute_capability: Annotated[str | None, typer.Option(help=_CAPABILITY)] = None,
    as_json: AsJson = False,
) -> None:
    """Run a graph and show which kernels really ran, at which precision.

    For tensorrt nothing is run: its compiler, which needs no GPU, says which kernels it built. Exit code 1 when less
    than 99 % of the multiplications that the bundle calls INT8 ran in integer kernels.
    """
    from mezzotint.quantize import audit_bundle, check_coverage
    from mezzotint.quantize.verify.audit import is_compiled
    from mezzotint.runtime import Bundle

    opened = Bundle.open(bundle)
    if is_compiled(opened, backend):
        asked = None if compute_capability is None else capabilities_of(compute_capability)
        return _audit_compiled(opened, component, asked, as_json=as_json)
    result = audit_bundle(opened, backend, component)
    if as_json:
        write_json(audit_record(result))
    else:
        STDOUT.print(audit_table(result))
    return check_coverage(result)


def _audit_compiled(bundle: "Bundle", component: str | None, asked: Sequence[str] | None, *, as_json: bool) -> None:
    from mezzotint.quantize import check_coverage
    from mezzotint.quantize.verify.audit import audit_compiled
    from mezzotint.quantize.verify.audit_tensorrt import audited_for

    name = component or family_of(bundle).denoiser
    results = audit_compiled(bundle, name, asked or audited_for(bundle.component(name).storage))
    if as_json:
        write_json([compiled_data(one) for one in results])
    else:
        STDOUT.print(audit_table(results[0].audit))
        for line in (*map(compiled_line, results), *float_lines(results)):
            STDOUT.print(line, markup=False)
    for one in results:
        check_coverage(one.audit)


def audit_record(audit: "Audit") -> dict[str, Any]:
    """Every kernel, and the figures, each between 0 and 1."""
    figures = ("int8_coverage", "int8_share", "four_bit_coverage", "four_bit_share")
    return asdict(audit) | {name: getattr(audit, name) for name in figures}


def compiled_data(one: "CompiledAudit") -> dict[str, Any]:
    """What the compiler made for one compute capability, as JSON."""
    data = {**asdict(one), "warnings": dict(one.warnings)}
    return data | {"audit": audit_record(one.audit), "record": asdict(one.record())}


def compiled_line(one: "CompiledAudit") -> str:
    """What the compiler made for one compute capability, in a line."""
    record, called = one.record(), one.audit.called
    figures = f"{called} coverage {record.coverage:.1%}, share {record.share:.1%}, " if one.audit.promised else ""
    attention = f"{record.fused_attentions} of {record.attentions} attentions fused"
    warnings = f", {sum(one.warnings.values())} warnings" if one.warnings else ""
    size = f"{record.engine_bytes / 1e6:.1f} MB"
    return f"{one.capability}: {figures}{attention}, {record.layers} layers, {size}, {record.state}{warnings}"


def float_lines(results: Sequence["CompiledAudit"]) -> list[str]:
    """What was meant to be in 8 bits and is in floats, and attention that is not one kernel, with its capabilities."""
    found: dict[str, list[str]] = {}
    for one in results:
        lines = [f"{kernel.node}: in {kernel.precision}, called {one.audit.called}" for kernel in one.audit.broken]
        lines += [f"{block.shares}: attention is not fused" for block in one.unfused]
        lines += [f"warned {count} times: {text.strip()}" for text, count in one.warnings.items()]
        for line in lines:
            found.setdefault(line, []).append(one.capability)
    return [f"{line} ({', '.join(where)})" for line, where in found.items()]


def audit_table(audit: "Audit") -> Group:
    """Time and multiplications by operation and precision, the slowest first, and the two figures.

    What was compiled and not run has no times, and the most multiplications stand first.
    """
    times: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    macs: Counter[tuple[str, str]] = Counter()
    for kernel in audit.kernels:
        weights = "" if kernel.weight_bits is None else f", {kernel.weight_bits}-bit weights"
        key = (kernel.operation, kernel.precision + weights)
        times[key] += kernel.time_ms or 0.0  # type: ignore[assignment]  # Counter's stub knows whole numbers only
        counts[key] += 1
        macs[key] += kernel.macs
    was_run = any(kernel.time_ms is not None for kernel in audit.kernels)
    table = Table("operation", "precision", "kernels", *(("ms",) if was_run else ()), "GMAC")
    for key, _ in (times if was_run else macs).most_common():
        time_ms = (f"{times[key]:.2f}",) if was_run else ()
        table.add_row(*key, str(counts[key]), *time_ms, f"{macs[key] / 1e9:.3f}")
    coverage = f"{audit.called} coverage {audit.int8_coverage:.1%} of {len(audit.promised)} quantized nodes"
    share = f"{audit.called} share {audit.int8_share:.1%} of all MACs"
    figures = f"{coverage}, {share}" if audit.promised else "no quantized nodes"
    lines = [f"{audit.component} on {audit.backend}: {figures}"]
    if audit.in_four_bits:
        kept = f"{audit.four_bit_coverage:.1%} of {len(audit.in_four_bits)} linears"
        lines.append(f"4-bit weights: {kept} kept them in 4 bits, {audit.four_bit_share:.1%} of all MACs")
    return Group(*map(Text, lines), table)
