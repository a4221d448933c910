"""What TensorRT-RTX's compiler makes of a graph, read from its own record: no GPU is needed, and nothing is run.

A graph is compiled for each compute capability, for kernels are chosen by it. What is known afterwards is which kernels
there will be and in which types they multiply; not what they compute, and not how fast they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from mezzotint.bundle.compiled_record import CompiledRecord
from mezzotint.bundle.precision import Storage
from mezzotint.engines.rtx.builder import Built, build_engine
from mezzotint.engines.rtx.library import AUDITED, builder_version, check_capabilities
from mezzotint.engines.rtx.record import EngineLayer
from mezzotint.errors import MezzotintError

from ..graphs.attention_blocks import AttentionBlock, attention_blocks
from .compiled_kernels import compiled_kernels, is_fused_attention
from .coverage import Audit

BUILT = "built, never run"
_FP8_SINCE = 8.9  # compute capability


def audited_for(storage: Storage) -> tuple[str, ...]:
    """The compute capabilities that an audit compiles for, of those that can multiply what `storage` promises."""
    return tuple(one for one in AUDITED if has_kernels(one, storage))


def check_kernels(capabilities: Sequence[str], storage: Storage) -> None:
    """MezzotintError for the first compute capability whose GPUs cannot multiply what `storage` promises."""
    check_capabilities(capabilities)
    lacking = next((one for one in capabilities if not has_kernels(one, storage)), None)
    if lacking is not None:
        raise MezzotintError(
            f"GPUs of compute capability {lacking} have no 8-bit floats, which began with {_FP8_SINCE}; leave it "
            "out, or quantize with `--recipe int8`"
        )


def has_kernels(capability: str, storage: Storage) -> bool:
    """Whether GPUs of this compute capability multiply what `storage` promises."""
    return storage is not Storage.FP8 or float(capability) >= _FP8_SINCE


@dataclass(frozen=True, kw_only=True)
class CompiledAudit:
    """One component, compiled for one compute capability. `unfused` are the attention blocks that are no one kernel."""

    audit: Audit
    capability: str
    version: str
    layers: int
    engine_bytes: int
    attentions: int
    unfused: tuple[AttentionBlock, ...]
    warnings: Mapping[str, int]
    seconds: float

    def record(self) -> CompiledRecord:
        """What the manifest says of it."""
        return CompiledRecord(
            compiler=f"TensorRT-RTX {self.version}",
            compute_capability=self.capability,
            state=BUILT,
            layers=self.layers,
            engine_bytes=self.engine_bytes,
            coverage=round(self.audit.int8_coverage, 4),
            share=round(self.audit.int8_share, 4),
            attentions=self.attentions,
            fused_attentions=self.attentions - len(self.unfused),
        )


def compile_component(
    path: Path,
    component: str,
    shapes: Mapping[str, Sequence[int]],
    promised: Sequence[str],
    capability: str,
    *,
    called: str = "INT8",
) -> CompiledAudit:
    """Compile the graph at `path` and read the record; `promised` are the nodes that the bundle calls 8-bit.

    Raises as `build_engine` does: CheckFailed names the node where the compiler refuses the graph.
    """
    built = build_engine(path, shapes, (capability,))
    blocks = attention_blocks(ir.load(path).graph)
    audit = Audit(component, "tensorrt", compiled_kernels(built.layers, built.macs), tuple(promised), called)
    return _compiled(built, audit, capability, blocks)


def _compiled(built: Built, audit: Audit, capability: str, blocks: Sequence[AttentionBlock]) -> CompiledAudit:
    return CompiledAudit(
        audit=audit,
        capability=capability,
        version=builder_version(),
        layers=len(built.layers),
        engine_bytes=built.plan.nbytes,
        attentions=len(blocks),
        unfused=unfused_blocks(blocks, built.layers),
        warnings=built.warnings,
        seconds=built.seconds,
    )


def unfused_blocks(blocks: Sequence[AttentionBlock], layers: Sequence[EngineLayer]) -> tuple[AttentionBlock, ...]:
    """The blocks of which no single layer holds both products and the Softmax."""
    return tuple(block for block in blocks if not any(_holds(layer, block) for layer in layers))


def _holds(layer: EngineLayer, block: AttentionBlock) -> bool:
    """Layers of an Attention operator that became several all bear its one name, so that the kernel's tells more."""
    return set(layer.nodes).issuperset(block.nodes) and (not block.is_operator or is_fused_attention(layer))
