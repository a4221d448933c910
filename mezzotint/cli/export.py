"""`mezzotint export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.adapters.embedding import parse_embedding
from mezzotint.adapters.given import parse_given
from mezzotint.adapters.given_control import GivenControl, parse_control
from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.presets import PRESETS
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.spacing import SPACINGS

from .lines.source_lines import adapter_lines, control_lines, source_lines, word_lines
from .options import OWN, AsJson, Output, Overwrite, pick
from .terminal import STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

if TYPE_CHECKING:
    from mezzotint.runtime import Bundle

_SAMPLERS = tuple(sampler.name for sampler in SAMPLERS)
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_PARTS = "Parts from elsewhere, single files"


_MODEL = "A diffusers folder, a hub id, a .safetensors or .ckpt file, or a folder of Optimum's."
_VARIANT = "Weights to take where there are several, such as fp16 or non_ema."
_STEPS = "The bundle's own; few for a distilled checkpoint."
_GUIDANCE = "The bundle's own; 1 or less for a distilled one."
_PRESET = "Sampler, steps and guidance of a distilled checkpoint"
_PREDICTION = "What the UNet predicts, where the checkpoint does not say it"
_FORCE = "Even if it seems to be of other latents."
_WEIGHTS = "Of a single file with both; default: ema, the averages"
_LORA = "A LoRA or its like (LyCORIS, DoRA) to add to the weights; repeat for several."
_EMBEDDING = "A word of textual inversion to teach the text encoders; repeat for several."
_CONTROLNET = "A ControlNet's folder, to be a component of that name; repeat for several. The UNet gets further inputs."
_T2I_ADAPTER = "A T2I-adapter's folder, likewise."
_CONFIG = "A diffusers folder with configs and tokenizer, for a single file of an unpublished structure."


def _part(what: str) -> Any:
    """An option for a part from elsewhere."""
    return typer.Option(help=f"A {what}, for the checkpoint's own.", rich_help_panel=_PARTS)


# `mezzotint optimize` has these as well, up to Config.
Model = Annotated[str, typer.Argument(help=_MODEL)]
Variant = Annotated[str | None, typer.Option(help=_VARIANT)]
SamplerName = Annotated[str | None, pick("--scheduler", _SAMPLERS, f"The bundle's own sampler; {OWN}")]
Schedule = Annotated[str | None, pick("--schedule", SPACINGS, f"The bundle's own spacing; {OWN}")]
Steps = Annotated[int | None, typer.Option(min=1, help=_STEPS)]
Guidance = Annotated[float | None, typer.Option(help=_GUIDANCE)]
PresetName = Annotated[str | None, pick("--preset", tuple(PRESETS), _PRESET)]
PredictionType = Annotated[str | None, pick("--prediction-type", _PREDICTIONS, _PREDICTION)]
Unet = Annotated[Path | None, _part("UNet's file, folder or hub id")]
Vae = Annotated[Path | None, _part("VAE's file, folder or hub id")]
TextEncoder = Annotated[Path | None, _part("text encoder's file, folder or hub id")]
TextEncoder2 = Annotated[Path | None, _part("second text encoder's file, folder or hub id")]
ForceVae = Annotated[bool, typer.Option("--force-vae", help=_FORCE, rich_help_panel=_PARTS)]
Weights = Annotated[str | None, pick("--weights", ("ema", "plain"), _WEIGHTS, panel=_PARTS)]
Config = Annotated[Path | None, typer.Option(help=_CONFIG, rich_help_panel=_PARTS)]
Loras = Annotated[list[str] | None, typer.Option(metavar="FILE[:SCALE]", help=_LORA, rich_help_panel=_PARTS)]
Embeddings = Annotated[list[str] | None, typer.Option(metavar="FILE[:WORD]", help=_EMBEDDING, rich_help_panel=_PARTS)]
ControlNets = Annotated[
    list[str] | None,
    typer.Option("--controlnet", metavar="NAME=FOLDER", help=_CONTROLNET, rich_help_panel=_PARTS),
]
T2iAdapters = Annotated[
    list[str] | None,
    typer.Option("--t2i-adapter", metavar="NAME=FOLDER", help=_T2I_ADAPTER, rich_help_panel=_PARTS),
]


def export(
    checkpoint: Model,
    output: Output,
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
    lora: Loras = None,
    embedding: Embeddings = None,
    controlnet: ControlNets = None,
    t2i_adapter: T2iAdapters = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Export a checkpoint to a bundle of FP32 ONNX graphs, each checked against PyTorch."""
    from mezzotint.export import Chosen, Origins, export_checkpoint

    chosen = Chosen(
        scheduler=scheduler,
        steps=steps,
        guidance=guidance,
        schedule=schedule,
        preset=preset,
        prediction_type=prediction_type,
    )
    origins = Origins(
        config=config,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        weights=weights,
        force_vae=force_vae,
    )
    with show_progress() as progress, warnings_as_lines():
        bundle = export_checkpoint(
            checkpoint,
            output,
            variant=variant,
            origins=origins,
            chosen=chosen,
            adapters=tuple(parse_given(one) for one in lora or ()),
            embeddings=tuple(parse_embedding(one) for one in embedding or ()),
            controls=_controls(controlnet or (), t2i_adapter or ()),
            overwrite=overwrite,
            progress=progress,
        )
    _show(bundle, as_json=as_json)


def _controls(nets: Sequence[str], adapters: Sequence[str]) -> tuple[GivenControl, ...]:
    return *map(parse_control, nets), *(parse_control(one, ControlKind.T2I_ADAPTER) for one in adapters)


def _show(bundle: "Bundle", *, as_json: bool) -> None:
    if as_json:
        write_json(bundle_json(bundle))
        return
    manifest = bundle.manifest
    lines = [f"{name}: from the {taken} weights" for name, taken in manifest.source.variants.items()]
    lines += [*source_lines(manifest.source), *(f"{name}: of {one.name}" for name, one in manifest.replaced.items())]
    lines += [*adapter_lines(manifest), *word_lines(manifest), *control_lines(manifest)]
    for line in lines:
        STDOUT.print(line, markup=False)
    for name, component in manifest.components.items():
        parity = component.parity
        agreement = "not checked" if parity is None else f"{parity.sqnr_db} dB against {parity.against}"
        STDOUT.print(f"{name}: {agreement}")
    STDOUT.print(f"wrote {bundle.path}")
