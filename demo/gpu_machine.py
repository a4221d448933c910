"""What this machine can do of `make gpu`, asked before a stage: its engines, and what its GPU has kernels for."""

from dataclasses import dataclass

from mezzotint.bundle.precision import Storage
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.nvidia import has_nvidia_driver
from mezzotint.engines.rtx.library import CAPABILITIES, missing_builder
from mezzotint.engines.rtx_graph import first_gpu
from mezzotint.engines.tensorrt import missing_provider
from mezzotint.errors import MezzotintError
from mezzotint.quantize.decide.recipe import STORAGE_NAMES
from mezzotint.quantize.verify.audit_tensorrt import audited_for, has_kernels

from .gpu_stages import Stage

_WITHOUT = "`make gpu-prepare` does what needs none"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`capability` is the first GPU's compute capability, "8.9"; None where no GPU is to be used."""

    capability: str | None = None

    def why_not(self, stage: Stage) -> str | None:
        """Why a stage cannot be done here whatever is done before it; None where it can."""
        if stage.on_gpu and self.capability is None:
            return "it runs on a GPU"
        if stage.builds:
            missing = missing_builder() or self._rtx_lacks()
        else:
            missing = self.why_no_engine(stage.target) if stage.on_gpu and stage.target else None
        if missing is None and self.capability is not None and not has_kernels(self.capability, _storage(stage)):
            return f"GPUs of compute capability {self.capability} have no {stage.recipe}"
        return missing

    def why_no_engine(self, target: str) -> str | None:
        """Why graphs for `target` cannot run here; None where they can."""
        engine = next(engine for engine in ENGINES if engine.name == target)
        missing = engine.missing()
        if missing is None and target == "tensorrt" and self._rtx_lacks() is not None:
            missing = missing_provider()
        return None if missing is None else f"{target} {missing}"

    def capabilities(self, stage: Stage) -> str:
        """What engines are compiled for, joined by commas: this GPU, or all that may be met."""
        return self.capability or ",".join(audited_for(_storage(stage)))

    def _rtx_lacks(self) -> str | None:
        if self.capability is None or self.capability in CAPABILITIES:
            return None
        return f"TensorRT-RTX knows no GPU of compute capability {self.capability}"


def machine_with_gpu() -> Machine:
    """This machine; MezzotintError where no engine of ours can use a GPU, or its driver has none."""
    if not has_nvidia_driver():
        raise MezzotintError(f"no GPU can be used here: this machine has no NVIDIA driver. {_WITHOUT}")
    reasons = [(engine.name, engine.missing()) for engine in ENGINES if engine.types_decide]
    if all(reason is not None for _, reason in reasons):
        said = "; ".join(f"{name} {reason}" for name, reason in reasons)
        raise MezzotintError(f"no GPU can be used here: {said}. {_WITHOUT}")
    return Machine(capability=first_gpu().capability)


def _storage(stage: Stage) -> Storage:
    return STORAGE_NAMES[stage.recipe] if stage.recipe else Storage.FLOAT32
