"""What is shown of a graph that was compiled for GPUs: figures once, capabilities together, and what was never run."""

import io
from dataclasses import replace

from rich.console import Console

from mezzotint.bundle.compiled_record import CompiledRecord
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.cli import audit as audit_module
from mezzotint.cli.audit import compiled_data, compiled_line, float_lines
from mezzotint.cli.lines.compiled_text import compiled_lines
from mezzotint.optimize.stand_in import record_lines
from mezzotint.quantize.graphs.attention_blocks import AttentionBlock
from mezzotint.quantize.verify.audit_tensorrt import CompiledAudit
from mezzotint.quantize.verify.coverage import Audit
from mezzotint.quantize.verify.kernel import Kernel

RECORD = CompiledRecord(
    compiler="TensorRT-RTX 1.7.1",
    compute_capability="8.9",
    state="built, never run",
    layers=9,
    engine_bytes=1_500_000,
    coverage=0.75,
    share=0.6,
    attentions=2,
    fused_attentions=1,
)
BLOCK = AttentionBlock(scores="a:scores", shares="a:shares", mixed="a:mixed")
AUDIT = CompiledAudit(
    audit=Audit(
        "unet",
        "tensorrt",
        (
            Kernel("good/Conv", "correlation", "int8", None, 300),
            Kernel("bad/Conv", "correlation", "f16", None, 100),
            Kernel("other", "kgen", "f16", None, 100),
        ),
        ("good/Conv", "bad/Conv"),
    ),
    capability="8.9",
    version="1.7.1",
    layers=9,
    engine_bytes=1_500_000,
    attentions=2,
    unfused=(BLOCK,),
    warnings={"converting scales": 3},
    seconds=1.0,
)


def component(*records: CompiledRecord) -> Component:
    return Component((), Storage.INT8, Compute.F16, (), (), compiled=records)


def test_capabilities_of_equal_figures_share_a_line() -> None:
    other = replace(RECORD, compute_capability="12.0", coverage=1.0)
    assert compiled_lines(component(replace(RECORD, compute_capability="8.6"), RECORD, other)) == [
        "compiled for 8.6, 8.9: 8-bit coverage 75.0%, share 60.0%, 1 of 2 attentions fused, built, never run "
        "(TensorRT-RTX 1.7.1)",
        "compiled for 12.0: 8-bit coverage 100.0%, share 60.0%, 1 of 2 attentions fused, built, never run "
        "(TensorRT-RTX 1.7.1)",
    ]
    assert compiled_lines(component()) == []
    assert record_lines("int8 | unet (int8)", [replace(RECORD, compute_capability="8.6"), RECORD]) == [
        "| int8 | unet (int8) | 8.6, 8.9 | 9 | 1.5 MB | 75.0% | 60.0% | 1 of 2 |"
    ]
    larger = replace(RECORD, compute_capability="12.0", layers=10, engine_bytes=1_000_000)
    assert record_lines("int8 | unet (int8)", [larger, RECORD]) == [
        "| int8 | unet (int8) | 12.0, 8.9 | 9 to 10 | 1.0 to 1.5 MB | 75.0% | 60.0% | 1 of 2 |"
    ]


def test_a_record_is_what_was_compiled() -> None:
    assert AUDIT.record() == RECORD


def test_what_is_in_floats_and_what_is_not_fused_is_named_with_its_capabilities() -> None:
    assert compiled_line(AUDIT) == (
        "8.9: INT8 coverage 75.0%, share 60.0%, 1 of 2 attentions fused, 9 layers, 1.5 MB, built, never run, 3 warnings"
    )
    assert float_lines([AUDIT, replace(AUDIT, capability="12.0", warnings={})]) == [
        "bad/Conv: in f16, called INT8 (8.9, 12.0)",
        "a:shares: attention is not fused (8.9, 12.0)",
        "warned 3 times: converting scales (8.9)",
    ]
    assert compiled_data(AUDIT)["record"]["coverage"] == 0.75


def test_the_table_of_what_was_not_run_has_no_times() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(audit_module.audit_table(AUDIT.audit))
    text = console.export_text()
    assert "GMAC" in text
    assert " ms " not in text
