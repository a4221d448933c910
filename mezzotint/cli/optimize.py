"""`mezzotint optimize`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.families.lineup import is_optimum_folder
from mezzotint.families.part_folders import PARTS, VAE_FOLDER

from .export import (
    Config,
    ForceVae,
    Guidance,
    Model,
    PredictionType,
    PresetName,
    SamplerName,
    Schedule,
    Steps,
    TextEncoder,
    TextEncoder2,
    Unet,
    Vae,
    Variant,
    Weights,
)
from .options import AsJson, Output, Overwrite
from .quantize import Prompts, RecipeName, TargetName
from .terminal import STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

if TYPE_CHECKING:
    from mezzotint.bundle.manifest import Manifest
    from mezzotint.optimize.fidelity import Fidelity
    from mezzotint.optimize.optimize import Optimized

_CHECKED = "Images that are generated twice, in FP32 and quantized; 0 leaves the check out."


def optimize(
    model: Model,
    output: Output,
    recipe: RecipeName = "int8",
    target: TargetName = "auto",
    prompts: Prompts = None,
    check: Annotated[int, typer.Option(min=0, help=_CHECKED)] = 4,
    variant: Variant = None,
    scheduler: SamplerName = None,
    schedule: Schedule = None,
    steps: Steps = None,
    guidance: Guidance = None,
    preset: PresetName = None,
    prediction_type: PredictionType = None,
    unet: Unet = None,
    vae: Vae = None,
    text_encoder: TextEncoder = None,
    text_encoder_2: TextEncoder2 = None,
    force_vae: ForceVae = False,
    weights: Weights = None,
    config: Config = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Export a checkpoint, quantize it for this machine, and check the result: one command with defaults.

    The FP32 export is kept in the cache folder, so that another recipe or target does not make it again.
    """
    from mezzotint.export import Chosen, Origins
    from mezzotint.optimize.export_cache import ExportRequest
    from mezzotint.optimize.optimize import optimize_checkpoint
    from mezzotint.runtime.text.prompts import read_prompts

    parts = dict(zip(PARTS, (unet, vae, text_encoder, text_encoder_2), strict=True))
    request = ExportRequest(
        model=model,
        variant=variant,
        origins=Origins(config=config, weights=weights, force_vae=force_vae, **parts),
        chosen=Chosen(
            scheduler=scheduler,
            schedule=schedule,
            steps=steps,
            guidance=guidance,
            preset=preset,
            prediction_type=prediction_type,
        ),
    )
    texts = None if prompts is None else read_prompts(prompts)
    with show_progress() as progress, warnings_as_lines():
        result = optimize_checkpoint(
            request,
            output,
            recipe=recipe,
            target=target,
            prompts=texts,
            checked=check,
            overwrite=overwrite,
            progress=progress,
        )
    _tell(result, model, config, as_json=as_json)


def _tell(result: "Optimized", model: str, config: Path | None, *, as_json: bool) -> None:
    if as_json:
        write_json({**bundle_json(result.bundle), **_figures(result)})
        return
    for line in summary(result, model, config):
        STDOUT.print(line, markup=False)


def _figures(result: "Optimized") -> dict[str, object]:
    known: dict[str, object] = {
        "float32_bytes": result.float32_bytes,
        "bytes": result.bytes,
        "was_exported": result.was_exported,
    }
    known["was_quantized"] = result.was_quantized
    coverage = None if result.coverage is None else asdict(result.coverage)
    fidelity = None if result.fidelity is None else asdict(result.fidelity)
    return {**known, "coverage": coverage, "fidelity": fidelity, "unseen": result.unseen}


def _seen(fidelity: "Fidelity") -> list[str]:
    step, float32 = fidelity.step_ms, fidelity.float32_step_ms
    ratio = "" if float32 is None else f", {float32 / step:.2f}x as fast as FP32 on this engine"
    worst, count = min(fidelity.psnr_db), len(fidelity.psnr_db)
    return [
        f"speed: {step:.0f} ms a step{ratio}",
        f"fidelity: {fidelity.median_psnr_db:.1f} dB PSNR against FP32, the worst of {count} images {worst:.1f} dB",
    ]


def summary(result: "Optimized", model: str, config: Path | None = None) -> list[str]:
    """What is worth knowing of the bundle, and what to run next."""
    manifest = result.bundle.manifest
    kept = "reused from the cache" if result.was_exported else "made, and kept in the cache"
    lines = [
        f"{result.bundle.path}: {manifest.recipe} for {manifest.target}; the FP32 export was {kept}",
        *(
            ["it is the bundle of a run that was interrupted before it had looked at it"]
            if result.was_quantized
            else []
        ),
        f"size: {result.bytes / 1e6:.1f} MB, {result.float32_bytes / result.bytes:.1f}x smaller than FP32",
    ]
    if result.coverage is not None:
        one = result.coverage
        lines.append(
            f"{one.component}: {one.int8_coverage:.1%} of the MACs called INT8 ran in integer kernels, "
            f"{one.int8_share:.1%} of all"
        )
    if result.fidelity is not None:
        lines += _seen(result.fidelity)
    if result.unseen is not None:
        lines.append(f"neither speed nor fidelity was looked at: {result.unseen}")
    bundle = shlex.quote(str(result.bundle.path))
    read = "" if config is None else f" --config {shlex.quote(str(config))}"
    following = [f'  mezzotint generate {bundle} "a prompt" -o image.png']
    if _has_reference(model, manifest):
        compare = f"  mezzotint benchmark {shlex.quote(model)} {bundle} -o report --prompts FILE{read}"
        following.append(f"{compare}   # figures to quote")
    return [*lines, "next:", *following]


def _has_reference(model: str, manifest: "Manifest") -> bool:
    """Whether `benchmark` can compare with it: a checkpoint on this machine, and all of its parts but the VAE."""
    path = Path(model)
    return path.exists() and not is_optimum_folder(path) and not manifest.replaced.keys() - {VAE_FOLDER}
