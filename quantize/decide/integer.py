"""W8A8 for one component, whatever the target: decide by rule, calibrate, smooth."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.decisions import Decisions
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress
from mezzotint.runtime import Bundle

from ..calibrate.calibrate import cached_statistics, cached_trajectories, probes_for, with_quantizers
from ..calibrate.statistics import TensorStatistics
from ..calibrate.trajectories import CalibrationSettings, Call, Trajectories, decoder_calls, guided_calls
from ..graphs.graph_file import unmap_weights
from ..graphs.weighted import weighted_nodes
from ..passes.split_shortcuts import SPLIT_SHORTCUT_RULE, split_shortcuts
from ..rules.stable_diffusion import UNET_W8A8, VAE_DECODER_W8A8, Rule, decide, with_last_layers
from .method import RECIPE_METHOD, Method
from .smooth import smooth, with_alphas

__all__ = ["Calibration", "decide_integer"]

_RULES: dict[str, Sequence[Rule]] = {"unet": UNET_W8A8, "vae_decoder": VAE_DECODER_W8A8}


@dataclass(frozen=True)
class Calibration:
    """The data of one quantization; trajectories are run when they are first asked for, and cached on disk."""

    bundle: Bundle
    prompts: tuple[str, ...]
    settings: CalibrationSettings
    progress: Progress
    memory_limit_bytes: int | None = None
    split_shortcuts: bool = False

    @cached_property
    def trajectories(self) -> Trajectories:
        """Latents of every step for every calibration prompt."""
        return cached_trajectories(self.bundle, self.prompts, self.settings, self.progress)

    @property
    def prompts_sha256(self) -> str:
        """Hash of the prompts in their order."""
        return hashlib.sha256("\n".join(self.prompts).encode()).hexdigest()

    def calls(self, component: str, count: int, seed: int) -> list[Call]:
        """`count` seeded calls of a component, taken from the trajectories."""
        if component == "unet":
            return guided_calls(self.trajectories, count, seed)
        return decoder_calls(self.trajectories, self.bundle.geometry(), count, seed)

    def record(self) -> CalibrationRecord:
        """What the manifest says of it."""
        settings = self.settings
        channels, height, width = self.trajectories.latents.shape[1:]
        return CalibrationRecord(
            prompts_sha256=self.prompts_sha256,
            prompts=len(self.prompts),
            scheduler=settings.scheduler,
            steps=settings.steps,
            guidance=settings.guidance,
            latent_shape=(channels, height, width),
            calls=settings.calls,
            seed=settings.seed,
            trajectories=len(self.trajectories.positive),
            visits=settings.visits,
            split_shortcuts=self.split_shortcuts,
        )


def decide_integer(
    model: ir.Model, component: str, calibration: Calibration, method: Method = RECIPE_METHOD
) -> tuple[Decisions, dict[str, TensorStatistics]]:
    """Every node's decision with its quantizers, and the statistics they came from; smooths `model` in place."""
    if component not in _RULES:
        raise MezzotintError(
            f"there are no INT8 rules for {component}; choose int8-weights, or int8 for {list(_RULES)}"
        )
    if calibration.split_shortcuts:
        split_shortcuts(model)
    names = [item.name for item in weighted_nodes(model.graph)]
    decisions = decide(names, (*with_last_layers(_RULES[component], names), SPLIT_SHORTCUT_RULE, *method.rules))
    settings = calibration.settings
    calls = calibration.calls(component, settings.calls, settings.seed)
    key_parts = {"prompts": calibration.prompts_sha256, "settings": settings}
    statistics = cached_statistics(
        calibration.bundle,
        component,
        probes_for(model.graph, decisions),
        calls,
        key_parts,
        calibration.progress,
        calibration.memory_limit_bytes,
        split_shortcuts if calibration.split_shortcuts else None,
    )
    if method.smooths:
        smoothings, statistics = smooth(model, decisions, statistics)
        decisions = with_alphas(model.graph, decisions, smoothings)
    decisions = with_quantizers(model.graph, decisions, statistics, method.ranges)
    unmap_weights(model)
    return decisions, statistics
