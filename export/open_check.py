"""The end of every export: the bundle is opened and run as a user would, before anybody can see it.

What could not be opened, or would fail at the first image, is refused here, with the checkpoint at hand. It costs one
guided step at the smallest size that the UNet takes; graphs are loaded one after the other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from PIL import Image

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import Choice, reference_engine
from mezzotint.engines.session import Session
from mezzotint.engines.sessions import Sessions
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family, ReadConfig, Role
from mezzotint.families.lineup import family_of
from mezzotint.families.residuals import is_residual
from mezzotint.runtime import Control, ImageToImage, Inpaint, Options, TextToImage
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.text.tokenizer import ClipTokenizer

from .families.export_family import Configs, Dims, ExportFamily
from .families.lineup import export_of
from .files.json_file import read_object
from .files.tokenizer_forms import check_forms
from .scheduler import runnable_samplers

_PROMPT, _SEED, _GUIDANCE = "a photo", 0, 5.0
Kind = TypeVar("Kind", Inpaint, TextToImage)


def check_opens(staging: Path) -> None:
    """Open the sealed bundle in `staging` and run one guided step through all of its graphs.

    Raises MezzotintError that says what a user of the bundle would have met.
    """
    try:
        bundle = Bundle.open(staging)
        export = export_of(family_of(bundle))
        check_interface(export, bundle.manifest.components, bundle.config)
        config = SchedulerConfig.from_dict(bundle.config("scheduler/scheduler_config.json"))
        _guided_step(export, bundle, runnable_samplers(config)[0])
    except MezzotintError as error:
        raise MezzotintError(f"the exported bundle cannot be used: {_without(staging, str(error))}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error!s:.200}"
        raise MezzotintError(
            f"the exported bundle cannot be used: a guided step ended in {_without(staging, what)}; compare the "
            "checkpoint's configs with those of the model that it was made from"
        ) from error


def check_texts(family: Family, staging: Path, configs: Configs) -> None:
    """Read the scheduler's config and the tokenizers as a pipeline would, before graphs take minutes to be made.

    `configs` are the effective ones of the text encoders, by their folders.
    """
    try:
        SchedulerConfig.from_dict(read_object(staging / "scheduler" / "scheduler_config.json"))
        for stage in family.texts:
            check_forms(staging / stage.tokenizer)
            ClipTokenizer.load(staging / stage.tokenizer, configs[stage.component]["vocab_size"])
    except MezzotintError as error:
        raise MezzotintError(_without(staging, str(error))) from error


def check_interface(export: ExportFamily, components: Mapping[str, Component], read: ReadConfig) -> None:
    """Names and shapes of the graphs' inputs and outputs; MezzotintError says which is not what the pipelines feed.

    `read` reads the configs of `components`.
    """
    controls = components.keys() - export.family.components.keys()
    for name, component in components.items():
        interface = export.interfaces.get(name)
        if interface is None:
            continue
        got = {spec.name: spec for spec in component.inputs if not (controls and is_residual(spec.name))}
        inputs = {**interface.inputs, **{key: dims for key, dims in interface.optional.items() if key in got}}
        if got.keys() != inputs.keys():
            raise MezzotintError(f"{name}'s graph has the inputs {sorted(got)}, expected {sorted(inputs)}")
        for key, dims in inputs.items():
            if dims is not None:
                _check_dims(name, got[key], dims)
        outputs = [spec.name for spec in component.outputs]
        expected = interface.output
        if interface.instead is not None and export.vae is not None:
            is_other = export.vae.is_deterministic(read(f"{name}/config.json"))
            expected = interface.instead if is_other else expected
        if expected not in outputs:
            raise MezzotintError(f"{name}'s graph has the outputs {outputs}, expected {expected} among them")


def _check_dims(name: str, spec: TensorSpec, dims: Dims) -> None:
    if len(spec.dims) != len(dims):
        raise MezzotintError(f"{name}'s input {spec.name!r} has the dims {list(spec.dims)}, expected {len(dims)} dims")
    fixed = [dim for dim, size in zip(dims, spec.dims, strict=True) if dim is not None and isinstance(size, int)]
    if fixed:
        raise MezzotintError(
            f"{name}'s input {spec.name!r} has the fixed shape {list(spec.dims)}, expected a dynamic "
            f"{', '.join(fixed)}: guidance runs two rows at a time, and images have several sizes; export with dynamic "
            "axes (Optimum: without --no-dynamic-axes)"
        )


def _guided_step(export: ExportFamily, bundle: Bundle, sampler: str) -> None:
    """One step from a grey image, under a white mask where the denoiser takes one: every graph runs."""
    family = export.family
    geometry = family.geometry(bundle.config)
    side = export.least_side(bundle.config, geometry)
    options: Options = {"steps": 1, "guidance": _GUIDANCE, "seed": _SEED, "scheduler": sampler}
    prompt = _PROMPT if family.texts else ""
    if family.name_of(Role.IMAGE_ENCODER) is None:
        sized: Options = {**options, "height": side, "width": side}
        open_one_by_one(bundle, TextToImage)(prompt, **sized)
        return
    image = Image.new("RGB", (side, side), (128, 128, 128))
    if bundle.manifest.controls:
        options["controls"] = [Control(name=one.name, image=image) for one in bundle.manifest.controls]
    pipeline = open_one_by_one(bundle, Inpaint)
    if geometry.unet_channels != geometry.latent_channels:
        pipeline(prompt, image, Image.new("L", (side, side), 255), strength=1.0, **options)
    else:
        ImageToImage.sharing(pipeline)(prompt, image, strength=1.0, **options)


def open_one_by_one(bundle: Bundle, kind: type[Kind]) -> Kind:
    """A pipeline that holds one graph at a time, on the engine of the parity check, and leaves no compiled graph."""
    engine = reference_engine("opening the bundle")

    def open_session(name: str) -> Session:
        path = bundle.graph_path(name)
        return Session.open(name, path, bundle.component(name), engine, EngineOptions(Compute.F32))

    sessions = Sessions(tuple(bundle.manifest.components), open_session, keep=False)
    return kind(bundle, Choice(engine, "the parity check's"), sessions, precision=Compute.F32, low_memory=True)


def _without(staging: Path, text: str) -> str:
    """`text` without the folder that nobody will find."""
    return text.replace(f"{staging}/", "").replace(str(staging), "the bundle")
