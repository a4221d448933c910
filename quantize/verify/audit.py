"""What really ran: every kernel of a graph with its precision, time and multiplications, read from the engine's record.

Two figures keep a bundle honest. `int8_coverage`: multiplications that ran in integer kernels, of those in nodes that
the bundle calls INT8. `int8_share`: the same, of all multiplications of the graph, attention included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.decisions import DECISIONS_FILE, read_decisions
from mezzotint.bundle.manifest import LATENT_BATCH, TensorSpec
from mezzotint.bundle.precision import NodeScheme
from mezzotint.engines.lineup import choose_engine
from mezzotint.families.family import Guidance
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.runtime import Bundle, CheckFailed, MezzotintError

from .audit_onnxruntime import record_onnxruntime
from .audit_openvino import record_openvino
from .kernel import Kernel

INT8_COVERAGE_FLOOR = 0.99
RECORDERS = (("openvino", record_openvino), ("onnxruntime", record_onnxruntime))


@dataclass(frozen=True)
class Audit:
    """One component on one engine. `promised` are the nodes that the bundle calls INT8."""

    component: str
    backend: str
    kernels: tuple[Kernel, ...]
    promised: tuple[str, ...]

    @property
    def int8_coverage(self) -> float:
        """Between 0 and 1; 1 when nothing was promised. A promised node that the record lacks counts as broken."""
        found = {kernel.node: kernel for kernel in self.kernels if kernel.node in self.promised}
        if len(found) < len(self.promised):
            return 0.0 if not found else self._share(found) * len(found) / len(self.promised)
        return self._share(found) if found else 1.0

    @property
    def int8_share(self) -> float:
        """Between 0 and 1."""
        return self._share({kernel.node: kernel for kernel in self.kernels})

    @staticmethod
    def _share(kernels: Mapping[str, Kernel]) -> float:
        total = sum(kernel.macs for kernel in kernels.values())
        return sum(kernel.macs for kernel in kernels.values() if kernel.is_integer) / total if total else 0.0


def audit_bundle(
    bundle: Bundle, backend: str = "auto", component: str | None = None, batch: int | None = None
) -> Audit:
    """Run `component`, by default the denoiser, at the native size and read what the engine ran.

    `batch` is by default that of one image: both halves where the bundle's own guidance makes two.
    MezzotintError when it cannot be loaded.
    """
    engine = choose_engine(bundle.manifest, backend).engine
    recorder = dict(RECORDERS).get(engine.name)
    if recorder is None:
        raise MezzotintError(
            f"{engine.name} keeps no record of its kernels that could be audited; profile it with nsys"
        )
    component = component or family_of(bundle).denoiser
    spec = bundle.component(component)
    precision = spec.compute if spec.compute in engine.precisions() else engine.precisions()[0]
    is_guided = family_of(bundle).guidance is Guidance.CFG and bundle.defaults().guidance > 1.0
    batch = 1 + is_guided if batch is None else batch
    latents = batch // 2 if is_guided and batch % 2 == 0 else batch
    kernels = recorder(bundle.graph_path(component), _zeros(bundle, spec.inputs, batch, latents), precision)
    return Audit(component, engine.name, tuple(kernels), tuple(_promised(bundle, component)))


def check_coverage(audit: Audit, floor: float = INT8_COVERAGE_FLOOR) -> None:
    """CheckFailed when fewer than `floor` of the promised multiplications ran in integer kernels."""
    if audit.int8_coverage < floor:
        broken = [kernel.node for kernel in audit.kernels if kernel.node in audit.promised and not kernel.is_integer]
        first = broken[0] if broken else "a node that the engine's record lacks"
        raise CheckFailed(
            f"{audit.component} on {audit.backend}: {audit.int8_coverage:.1%} of the MACs called INT8 ran in "
            f"integer kernels, expected {floor:.0%}; the first that did not is {first}"
        )


def _promised(bundle: Bundle, component: str) -> Sequence[str]:
    decisions = read_decisions(bundle.path / component / DECISIONS_FILE)
    return [node for node, one in decisions.items() if one.scheme == NodeScheme.W8A8]


def _zeros(bundle: Bundle, inputs: Sequence[TensorSpec], batch: int, latents: int) -> dict[str, Array]:
    """Inputs of the size that the bundle was calibrated for: kernels are chosen by shape, not by value."""
    height, width = _latent_size(bundle)
    others = family_of(bundle).symbol_sizes(bundle.config)
    sizes = {"batch_size": batch, LATENT_BATCH: latents, "height": height, "width": width, **others}
    shapes = {spec.name: [sizes.get(dim, 1) if isinstance(dim, str) else dim for dim in spec.dims] for spec in inputs}
    return {spec.name: np.zeros(shapes[spec.name], dtype=spec.dtype) for spec in inputs}


def _latent_size(bundle: Bundle) -> tuple[int, int]:
    geometry, record = geometry_of(bundle), bundle.manifest.calibration
    _, height, width = geometry.latent_shape() if record is None else record.latent_shape
    _, height, width = geometry.latent_shape(height * geometry.vae_factor, width * geometry.vae_factor)  # or refuses
    return height, width
