"""What really ran: every kernel of a graph with its precision, time and multiplications, read from the engine's record.

For TensorRT nothing is run: its compiler, which needs no GPU, says what it built (audit_tensorrt.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.decisions import DECISIONS_FILE, read_decisions
from mezzotint.bundle.manifest import LATENT_BATCH, TensorSpec
from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.bundle.shallow import component_of
from mezzotint.engines.lineup import choose_engine
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Guidance
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.families.residuals import side_sizes
from mezzotint.runtime import Bundle

from .audit_onnxruntime import record_onnxruntime
from .audit_openvino import record_openvino
from .audit_tensorrt import CompiledAudit, check_kernels, compile_component
from .coverage import Audit, check_coverage
from .image_shapes import image_shapes

__all__ = ["Audit", "audit_bundle", "audit_compiled", "check_coverage", "is_compiled"]
RECORDERS = (("openvino", record_openvino), ("onnxruntime", record_onnxruntime))
_COMPILED = "tensorrt"
_CAPABILITY = "8.9"  # where one is enough


def audit_bundle(
    bundle: Bundle,
    backend: str = "auto",
    component: str | None = None,
    batch: int | None = None,
    latent: tuple[int, int] | None = None,
) -> Audit:
    """Run `component`, by default the denoiser, and read what the engine ran.

    `latent` is the height and width of latents, by default those that the bundle was calibrated for.

    `batch` is by default that of one image: both halves where the bundle's own guidance makes two.
    MezzotintError when it cannot be loaded. For TensorRT it is compiled instead, for compute capability 8.9.
    """
    if is_compiled(bundle, backend):
        return audit_compiled(bundle, component, (_CAPABILITY,))[0].audit
    engine = choose_engine(bundle.manifest, backend).engine
    recorder = dict(RECORDERS).get(engine.name)
    if recorder is None:
        raise MezzotintError(
            f"{engine.name} keeps no record of its kernels that could be audited; profile it with nsys"
        )
    component = component or family_of(bundle).denoiser
    spec = bundle.component(component)
    precision = engine.precision_for(spec.compute)
    is_guided = family_of(bundle).guidance is Guidance.CFG and bundle.defaults().guidance > 1.0
    batch = 1 + is_guided if batch is None else batch
    latents = batch // 2 if is_guided and batch % 2 == 0 else batch
    kernels = recorder(bundle.graph_path(component), _zeros(bundle, spec.inputs, (batch, latents), latent), precision)
    promised, in_four_bits = (_called(bundle, component, scheme) for scheme in (NodeScheme.W8A8, NodeScheme.W4))
    return Audit(component, engine.name, tuple(kernels), tuple(promised), in_four_bits=tuple(in_four_bits))


def is_compiled(bundle: Bundle, backend: str) -> bool:
    """Whether an audit of `bundle` on `backend` asks TensorRT's compiler."""
    is_own = bundle.manifest.target == _COMPILED
    return (backend == _COMPILED and bundle.manifest.target in ("portable", _COMPILED)) or (
        backend == "auto" and is_own
    )


def audit_compiled(bundle: Bundle, component: str | None, capabilities: Sequence[str]) -> tuple[CompiledAudit, ...]:
    """Compile `component`, by default the denoiser, with TensorRT-RTX for each compute capability, and read its record.

    It is compiled for one image of the size that the bundle was calibrated for. Raises MezzotintError where the
    compiler is not installed or a capability unknown, CheckFailed naming the node where the graph is refused.
    """
    component = component or family_of(bundle).denoiser
    storage = bundle.component(component).storage
    check_kernels(capabilities, storage)
    return tuple(
        compile_component(
            bundle.graph_path(component),
            component,
            image_shapes(bundle, component),
            _called(bundle, component, NodeScheme.W8A8),
            capability,
            called="FP8" if storage is Storage.FP8 else "INT8",
        )
        for capability in capabilities
    )


def _called(bundle: Bundle, component: str, scheme: NodeScheme) -> Sequence[str]:
    whole = component_of(component)
    decisions = read_decisions(bundle.path / whole / DECISIONS_FILE)
    called = [node for node, one in decisions.items() if one.scheme == scheme]
    return called if component == whole else _left_in(bundle.graph_path(component), called)


def _left_in(path: Path, nodes: Sequence[str]) -> list[str]:
    """Those of `nodes` that a graph beside a component's own has; lowering puts what a node became behind its name."""
    names = {str(node.name).partition(":")[0] for node in ir.load(path).graph}
    return [node for node in nodes if node in names]


def _zeros(
    bundle: Bundle, inputs: Sequence[TensorSpec], rows: tuple[int, int], latent: tuple[int, int] | None
) -> dict[str, Array]:
    """Inputs of `rows` texts and latents: kernels are chosen by shape, not by value."""
    (batch, latents), (height, width) = rows, latent or _latent_size(bundle)
    others = family_of(bundle).symbol_sizes(bundle.config)
    sizes = {"batch_size": batch, LATENT_BATCH: latents, "height": height, "width": width, **others}
    sizes |= side_sizes(inputs, height, width)
    shapes = {spec.name: [sizes.get(dim, 1) if isinstance(dim, str) else dim for dim in spec.dims] for spec in inputs}
    return {spec.name: np.zeros(shapes[spec.name], dtype=spec.dtype) for spec in inputs}


def _latent_size(bundle: Bundle) -> tuple[int, int]:
    geometry, record = geometry_of(bundle), bundle.manifest.calibration
    _, height, width = geometry.latent_shape() if record is None else record.latent_shape
    _, height, width = geometry.latent_shape(height * geometry.vae_factor, width * geometry.vae_factor)  # or refuses
    return height, width
