"""`mezzotint audit`."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mezzotint.engines.lineup import ENGINES

from .options import AsJson, BundlePath, pick
from .terminal import STDOUT, write_json

if TYPE_CHECKING:
    from mezzotint.quantize import Audit

_BACKENDS = ("auto", *(engine.name for engine in ENGINES))


def audit(
    bundle: BundlePath,
    backend: Annotated[str, pick("--backend", _BACKENDS, "Engine to run on")] = "auto",
    component: Annotated[str | None, typer.Option(help="The component to run (default: the denoiser).")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a graph and show which kernels really ran, at which precision.

    Exit code 1 when less than 99 % of the multiplications that the bundle calls INT8 ran in integer kernels.
    """
    from mezzotint.quantize import audit_bundle, check_coverage
    from mezzotint.runtime import Bundle

    result = audit_bundle(Bundle.open(bundle), backend, component)
    if as_json:
        write_json(audit_record(result))
    else:
        STDOUT.print(audit_table(result))
    check_coverage(result)


def audit_record(audit: "Audit") -> dict[str, Any]:
    """Every kernel, and the two figures, each between 0 and 1."""
    return asdict(audit) | {"int8_coverage": audit.int8_coverage, "int8_share": audit.int8_share}


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
    coverage = f"INT8 coverage {audit.int8_coverage:.1%} of {len(audit.promised)} quantized nodes"
    share = f"INT8 share {audit.int8_share:.1%} of all MACs"
    return Group(Text(f"{audit.component} on {audit.backend}: {coverage}, {share}"), table)
