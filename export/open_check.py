"""The end of every export: the bundle is opened and run as a user would, before anybody can see it.

What could not be opened, or would fail at the first image, is refused here, with the checkpoint at hand. It costs one
guided step at the smallest size that the UNet takes; graphs are loaded one after the other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import Choice, reference_engine
from mezzotint.engines.session import Session
from mezzotint.engines.sessions import Sessions
from mezzotint.errors import MezzotintError
from mezzotint.runtime import ImageToImage, Inpaint, Options
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.runtime.text.tokenizer import ClipTokenizer

from .json_file import read_object
from .scheduler import runnable_samplers

__all__ = ["check_interface", "check_opens", "check_texts"]

_PROMPT, _SEED, _GUIDANCE = "a photo", 0, 5.0

_Dims: TypeAlias = tuple[str | None, ...]

# Component -> input -> its dims: the named ones must be dynamic; the size of the others (None) is the checkpoint's.
_INPUTS: Mapping[str, Mapping[str, _Dims | None]] = {
    "text_encoder": {"input_ids": ("batch", "sequence")},
    "unet": {
        "sample": ("batch", None, "height", "width"),
        "timestep": None,  # a scalar, or one in an array
        "encoder_hidden_states": ("batch", "sequence", None),
    },
    "vae_decoder": {"latent_sample": ("batch", None, "height", "width")},
    "vae_encoder": {"sample": ("batch", None, "height", "width")},
}
_OUTPUTS: Mapping[str, str] = {
    "text_encoder": "last_hidden_state",
    "unet": "out_sample",
    "vae_decoder": "sample",
    "vae_encoder": "latent_parameters",
}


def check_opens(staging: Path) -> None:
    """Open the sealed bundle in `staging` and run one guided step through all of its graphs.

    Raises MezzotintError that says what a user of the bundle would have met.
    """
    try:
        bundle = Bundle.open(staging)
        check_interface(bundle.manifest.components)
        config = SchedulerConfig.from_dict(bundle.config("scheduler/scheduler_config.json"))
        _guided_step(bundle, runnable_samplers(config)[0])
    except MezzotintError as error:
        raise MezzotintError(f"the exported bundle cannot be used: {_without(staging, str(error))}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error!s:.200}"
        raise MezzotintError(
            f"the exported bundle cannot be used: a guided step ended in {_without(staging, what)}; compare the "
            "checkpoint's configs with those of the model that it was made from"
        ) from error


def check_texts(staging: Path) -> None:
    """Read the scheduler's config and the tokenizer as a pipeline would, before graphs take minutes to be made."""
    try:
        SchedulerConfig.from_dict(read_object(staging / "scheduler" / "scheduler_config.json"))
        ClipTokenizer.load(staging / "tokenizer")
    except MezzotintError as error:
        raise MezzotintError(_without(staging, str(error))) from error


def check_interface(components: Mapping[str, Component]) -> None:
    """Names and shapes of the graphs' inputs and outputs; MezzotintError says which is not what the pipelines feed."""
    for name, inputs in _INPUTS.items():
        component = components[name]
        got = {spec.name: spec for spec in component.inputs}
        if got.keys() != inputs.keys():
            raise MezzotintError(f"{name}'s graph has the inputs {sorted(got)}, expected {sorted(inputs)}")
        for key, dims in inputs.items():
            if dims is not None:
                _check_dims(name, got[key], dims)
        outputs = [spec.name for spec in component.outputs]
        if _OUTPUTS[name] not in outputs:
            raise MezzotintError(f"{name}'s graph has the outputs {outputs}, expected {_OUTPUTS[name]} among them")


def _check_dims(name: str, spec: TensorSpec, dims: _Dims) -> None:
    if len(spec.dims) != len(dims):
        raise MezzotintError(f"{name}'s input {spec.name!r} has the dims {list(spec.dims)}, expected {len(dims)} dims")
    fixed = [dim for dim, size in zip(dims, spec.dims, strict=True) if dim is not None and isinstance(size, int)]
    if fixed:
        raise MezzotintError(
            f"{name}'s input {spec.name!r} has the fixed shape {list(spec.dims)}, expected a dynamic "
            f"{', '.join(fixed)}: guidance runs two rows at a time, and images have several sizes; export with dynamic "
            "axes (Optimum: without --no-dynamic-axes)"
        )


def _guided_step(bundle: Bundle, sampler: str) -> None:
    """One step from a grey image, under a white mask where the UNet takes one: every graph runs."""
    side = _least_side(bundle)
    image = Image.new("RGB", (side, side), (128, 128, 128))
    pipeline = _open_one_by_one(bundle, Inpaint)
    options: Options = {"steps": 1, "guidance": _GUIDANCE, "seed": _SEED, "scheduler": sampler}
    if pipeline.geometry.unet_channels != pipeline.geometry.latent_channels:
        pipeline(_PROMPT, image, Image.new("L", (side, side), 255), strength=1.0, **options)
    else:
        ImageToImage.sharing(pipeline)(_PROMPT, image, strength=1.0, **options)


def _least_side(bundle: Bundle) -> int:
    """In pixels: one that every level of the UNet can halve; a UNet of one level attends to 2x2 latents at least."""
    blocks = bundle.config("unet/config.json").get("block_out_channels")
    levels = len(blocks) if isinstance(blocks, list) else 4
    return int(max(2 ** (levels - 1), 2) * bundle.geometry().vae_factor)


def _open_one_by_one(bundle: Bundle, kind: type[Inpaint]) -> Inpaint:
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
