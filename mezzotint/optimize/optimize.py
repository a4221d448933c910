"""`mezzotint optimize`: a checkpoint in, a quantized bundle out, and what that cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.bundle.precision import BY_NODE
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.rtx.library import missing_builder
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.progress import Progress, silent
from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.quantize.calibrate.default_prompts import default_prompts
from mezzotint.quantize.decide.recipe import find_recipe
from mezzotint.quantize.lower.auto_target import choose_target
from mezzotint.quantize.lower.target import find_target, fit_storages
from mezzotint.quantize.verify.audit import audit_bundle, is_compiled

from .export_cache import ExportRequest, exported
from .fidelity import Fidelity, compare_images, held_out
from .unseen import asked, find_unseen, forget_unseen, go_on, note_unseen

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Shares of multiplications in integer kernels: of the nodes called INT8, and of all; between 0 and 1."""

    component: str
    int8_coverage: float
    int8_share: float


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """A quantized bundle and what was seen of it. `unseen` says why a figure lacks, where one does."""

    bundle: Bundle
    float32_bytes: int
    bytes: int
    was_exported: bool  # before, and is reused
    was_quantized: bool  # likewise, by a run that was interrupted before it had looked at the result
    coverage: Coverage | None
    fidelity: Fidelity | None
    unseen: str | None


def optimize_checkpoint(
    request: ExportRequest,
    output: Path,
    *,
    recipe: str = "int8",
    target: str = AUTO,
    prompts: Sequence[str] | None = None,
    checked: int = 4,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Optimized:
    """Export the checkpoint of `request`, quantize it by `recipe` for `target` into `output`, and look at the result.

    `prompts` are for calibration and, those that it does not see, for the check, which generates `checked` images; None
    is the list that comes with the package. Raises MezzotintError for unusable input and CheckFailed when a graph
    misses its floor; `output` is then as it was, and the export is kept for the next time. Interrupted after that, the
    same call goes on with the bundle.
    """
    what = asked(request, recipe, target, None if prompts is None else tuple(prompts))
    unseen = None if overwrite else find_unseen(output, what)
    _refuse_early(output, recipe, target, overwrite=overwrite or unseen is not None)
    with exported(request, progress=progress) as source:
        bundle = source.bundle
        chosen = choose_target(bundle, find_recipe(recipe), {}).target if target == AUTO else find_target(target)
        settings = CalibrationSettings.of(bundle)
        if unseen is not None:
            result = go_on(output, unseen, bundle)
        else:
            forget_unseen(output)
            result = quantize_bundle(
                bundle.path,
                output,
                recipe=recipe,
                target=chosen.name,
                prompts=prompts,
                settings=settings,
                overwrite=overwrite,
                progress=progress,
            )
            note_unseen(output, what, bundle)
        texts = held_out(default_prompts() if prompts is None else prompts, settings.trajectories, checked)
        found = Optimized(
            bundle=result,
            float32_bytes=_bytes(bundle),
            bytes=_bytes(result),
            was_exported=source.was_there,
            was_quantized=unseen is not None,
            coverage=None,
            fidelity=None,
            unseen=_unseen(result, chosen.name),
        )
        found = _looked_at(found, bundle, texts, chosen.name, progress)
        forget_unseen(output)
        return found


def _looked_at(found: Optimized, source: Bundle, texts: Sequence[str], target: str, progress: Progress) -> Optimized:
    result = found.bundle
    if found.unseen is not None:
        return replace(found, coverage=_coverage(result, target, progress) if is_compiled(result, target) else None)
    fidelity = compare_images(source, result, texts, backend=target, progress=progress) if texts else None
    return replace(found, coverage=_coverage(result, target, progress), fidelity=fidelity)


def _refuse_early(output: Path, recipe: str, target: str, *, overwrite: bool) -> None:
    """What needs no export to be wrong."""
    storages = find_recipe(recipe).storages
    if target != AUTO:
        most = {str(role): storages[role] for role in (Role.DENOISER, Role.TEXT_ENCODER, Role.IMAGE_DECODER)}
        fit_storages(find_target(target), find_recipe(recipe), most, {})
    if output.exists() and not overwrite:
        raise MezzotintError(f"{output} exists; choose another output, or pass --overwrite")
    if output.exists() and not (output / MANIFEST_NAME).is_file():
        raise MezzotintError(f"{output} has no {MANIFEST_NAME}, so it is not overwritten; choose another output")


def _unseen(bundle: Bundle, backend: str) -> str | None:
    """Why no image can be generated with the bundle here, or None."""
    engine = next(engine for engine in ENGINES if engine.name == backend)
    missing = engine.missing()
    if missing is not None:
        return f"{backend} {missing}"
    geometry = geometry_of(bundle)
    if geometry.unet_channels != geometry.latent_channels:
        return "the denoiser was made to inpaint, and images of a prompt alone say nothing of it"
    if family_of(bundle).begins_at(bundle.config):
        return "the denoiser finishes what another one begins, and images of a prompt alone say nothing of it"
    return None


def _coverage(bundle: Bundle, backend: str, progress: Progress) -> Coverage | None:
    """Of the denoiser, where it is in INT8 and the engine keeps a record."""
    name = family_of(bundle).denoiser
    if bundle.component(name).storage not in BY_NODE or (is_compiled(bundle, backend) and missing_builder()):
        return None
    progress(f"auditing {name}", 0, 1)
    audit = audit_bundle(bundle, backend, name)
    return Coverage(component=name, int8_coverage=audit.int8_coverage, int8_share=audit.int8_share)


def _bytes(bundle: Bundle) -> int:
    return sum(entry.bytes for component in bundle.manifest.components.values() for entry in component.files)
