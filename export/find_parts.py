"""What a checkpoint's name stands for: a diffusers folder, a hub id or one file, with parts from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mezzotint.adapters.embedding import GivenEmbedding
from mezzotint.adapters.given import GivenAdapter
from mezzotint.adapters.given_control import GivenControl, option_of
from mezzotint.bundle.manifest import Prediction
from mezzotint.bundle.presets import find_preset
from mezzotint.errors import MezzotintError

from .checkpoint_folder import folder_parts
from .files.checkpoint_parts import CheckpointParts, naming
from .files.origins import Origins
from .replaced_parts import replace_parts
from .scheduler import Chosen
from .single_files.checkpoint_file import copy_texts, file_parts

_FOLDER = "a folder says it itself, and has its EMA weights as variants"


def find_parts(
    model: str, folder: Path | None, variant: str | None, origins: Origins, chosen: Chosen, scratch: Path
) -> CheckpointParts:
    """The parts of the checkpoint that `model` names, with those of `origins` in place of its own.

    `folder` is where it lies, None for a single file. Configs that are put together are written to the empty folder
    `scratch`. Raises MezzotintError for what is no checkpoint, and for options that it has no use for.
    """
    if origins.force_vae and origins.vae is None:
        raise MezzotintError("--force-vae takes the VAE of --vae, and none was given; give one, or leave it away")
    holder = Path(model) if origins.unet is None else origins.unet  # of the weights that may have averages
    if not holder.is_file():
        _refuse(f"{holder} is no single file", {"weights": origins.weights}, _FOLDER)
    if folder is None:
        _refuse(f"{model} is a single file", {"variant": variant}, "a single file has no variants")
        with naming({scratch: str(origins.config or model)}):
            parts = file_parts(Path(model), scratch, origins, chosen.prediction_type)
    else:
        _refuse(f"{model} is no single file", {"config": origins.config}, _FOLDER)
        parts = _of_folder(model, folder, variant, origins, scratch)
        if chosen.prediction_type is not None:
            parts = _predicting(parts, chosen.prediction_type, "--prediction-type")
    with parts.naming_folders():
        parts = replace_parts(parts, origins) if origins.replaced else parts
    return parts if chosen.preset is None else _with_preset(parts, chosen.preset, chosen)


def check_optimum_options(
    folder: Path,
    variant: str | None,
    origins: Origins,
    chosen: Chosen,
    *,
    adapters: Sequence[GivenAdapter] = (),
    embeddings: Sequence[GivenEmbedding] = (),
    controls: Sequence[GivenControl] = (),
) -> None:
    """Raise MezzotintError for what cannot be said of a folder that Optimum exported."""
    given: dict[str, object] = {"variant": variant, "preset": chosen.preset}
    given |= {"prediction-type": chosen.prediction_type}
    given |= {"config": origins.config, "weights": origins.weights, "force-vae": "" if origins.force_vae else None}
    given |= {part.replace("_", "-"): path for part, path in origins.replaced.items()}
    given |= {"lora": adapters[0].path if adapters else None, "embedding": embeddings[0].path if embeddings else None}
    given |= {option_of(one.kind).removeprefix("--"): one.path for one in controls}
    _refuse(f"{folder} holds ONNX graphs", given, "graphs are taken as they are")


def _of_folder(model: str, folder: Path, variant: str | None, origins: Origins, scratch: Path) -> CheckpointParts:
    parts = folder_parts(model, folder, variant, without=origins.replaced)
    if not origins.replaced:
        return parts
    copy_texts(folder, scratch)
    return replace(parts, folder=scratch, shown={scratch: str(folder)})


def _with_preset(parts: CheckpointParts, name: str, chosen: Chosen) -> CheckpointParts:
    """What is chosen besides stands over the preset."""
    entries = dict(find_preset(name).entries(name, parts.index.family.name))
    predicted = entries.pop("prediction_type", None)
    parts = replace(parts, source=replace(parts.source, preset=name)).with_scheduler(entries)
    if predicted is None or chosen.prediction_type is not None:
        return parts
    return _predicting(parts, str(predicted), f"--preset {name}")


def _predicting(parts: CheckpointParts, kind: str, said_by: str) -> CheckpointParts:
    source = replace(parts.source, prediction=Prediction(type=kind, said_by=said_by))
    return replace(parts, source=source).with_scheduler({"prediction_type": kind})


def _refuse(what: str, given: Mapping[str, object], advice: str) -> None:
    for option, value in given.items():
        if value is not None:
            told = f"--{option} {value}".rstrip()
            raise MezzotintError(f"{what}, and {told} says nothing of it ({advice}); leave it away")
