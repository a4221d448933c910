"""One file that holds a whole checkpoint, or all of it but the parts that are given beside it."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mezzotint.bundle.bundle import sha256_of
from mezzotint.bundle.manifest import Prediction, SingleFile, Source
from mezzotint.errors import MezzotintError
from mezzotint.families.part_folders import DENOISER_FOLDER

from ..files.checkpoint_parts import CheckpointParts
from ..files.json_file import read_bytes, read_object
from ..files.load_module import empty_shapes
from ..files.origins import EMA, OPTIONS, PLAIN, Origins
from ..files.part_class import class_of
from ..files.pipeline_index import PipelineIndex, read_index
from ..files.quiet import quiet
from .file_kind import described, other_kind
from .homes import DENOISER, IN_CHECKPOINT
from .key_check import PartKeys, check_ema, check_keys
from .prediction import EPSILON, VELOCITY, marked_scheduler, predicts_velocity, velocity_spread
from .read_part import part_keys, part_weights, prefixes_of
from .structure import find_structure
from .templates import write_template
from .weight_file import WeightFile

_SCHEDULER = "scheduler/scheduler_config.json"
_TWO_RESOLUTIONS = {"sd2": "sd2-v"}  # the larger of the two predicts the velocity


@dataclass(frozen=True)
class _Structure:
    """Of which model a file is, and what of it is said by whom."""

    name: str
    prediction: Prediction | None


def file_parts(path: Path, scratch: Path, origins: Origins, prediction_type: str | None = None) -> CheckpointParts:
    """The parts of the checkpoint in the file `path`; its configs are put together in the empty folder `scratch`.

    Parts that `origins` replaces are not looked for. Raises MezzotintError for a file that is something else, for one
    of no known structure where no configs are given, and for keys that are missing, surplus or of another shape.
    """
    file = WeightFile.open(path)
    _refuse_others(file, origins)
    structure = _write_configs(file, scratch, origins, prediction_type)
    index = read_index(scratch)
    takes_ema = origins.unet is None and check_ema(path, file.shapes, origins.weights)
    places, unread = _places(file, index, scratch, origins.replaced, takes_ema)
    check_keys(path, file.shapes, places, unread)
    stated = read_object(scratch / _SCHEDULER).get("prediction_type", EPSILON)
    prediction = structure.prediction or Prediction(type=str(stated), said_by="the model's configs")
    return CheckpointParts(
        folder=scratch,
        index=index,
        weights={part.part: partial(part_weights, file, part) for part in places},
        source=Source(
            path.name,
            sha256_of(path),
            single_file=SingleFile(structure=structure.name, weights=EMA if takes_ema else PLAIN),
            prediction=prediction,
        ),
        scheduler=marked_scheduler(file.names) | _entry(structure.prediction),
        shown={scratch: str(origins.config or f"{path} ({structure.name})")},
    )


def _entry(prediction: Prediction | None) -> dict[str, str]:
    return {} if prediction is None else {"prediction_type": prediction.type}


def _refuse_others(file: WeightFile, origins: Origins) -> None:
    if _lacks_denoiser_alone(file):
        if origins.unet is None or origins.config is None:
            raise MezzotintError(
                f"{file.path} holds no UNet, by which the model is told; give one with {OPTIONS[DENOISER_FOLDER]}, and "
                "the folder of the model's configs with --config"
            )
        return
    kind = other_kind(file.names)
    if kind is not None:
        raise MezzotintError(f"{file.path} is {described(kind)}, expected a checkpoint; {kind.advice}")


def _lacks_denoiser_alone(file: WeightFile) -> bool:
    """Whether several other parts of a checkpoint are there: one is a file of that part."""
    parts = [part for part, homes in IN_CHECKPOINT.items() if any(home.is_in(file.shapes) for home in homes)]
    return len(parts) > 1 and DENOISER_FOLDER not in parts and not any(name.startswith(DENOISER) for name in file.names)


def _write_configs(file: WeightFile, scratch: Path, origins: Origins, prediction_type: str | None) -> _Structure:
    """Put the configs into `scratch`: those given, or those of the published model that the file is of."""
    prediction = _told(file, prediction_type)
    if origins.config is not None:
        if not origins.config.is_dir():
            raise MezzotintError(
                f"--config {origins.config} is no folder on this machine, expected one of diffusers' with the model's "
                "configs and tokenizer; download them, which takes no weights"
            )
        copy_texts(origins.config, scratch)
        return _Structure(origins.config.resolve().name, prediction)
    name = find_structure(file.path, file.shapes)
    if name in _TWO_RESOLUTIONS:
        prediction = prediction or _measured(file)
        if prediction is not None and prediction.type == VELOCITY:
            name = _TWO_RESOLUTIONS[name]
    write_template(name, scratch)
    return _Structure(name, prediction)


def _told(file: WeightFile, prediction_type: str | None) -> Prediction | None:
    if prediction_type is not None:
        return Prediction(type=prediction_type, said_by="--prediction-type")
    marked = marked_scheduler(file.names).get("prediction_type")
    return None if marked is None else Prediction(type=marked, said_by="the key v_pred in the file")


def _measured(file: WeightFile) -> Prediction | None:
    spread = velocity_spread(file)
    if spread is None:
        return None
    kind = VELOCITY if predicts_velocity(spread) else EPSILON
    return Prediction(type=kind, said_by=f"the spread of the last level's norm biases, {spread:.3g}")


def copy_texts(source: Path, target: Path) -> None:
    """Copy the index, configs, scheduler and tokenizers of a diffusers folder, and no weights."""
    read_index(source)
    for path in sorted((*source.glob("*.json"), *source.glob("*/*.json"), *source.glob("*/*.txt"))):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(read_bytes(path))


def _places(
    file: WeightFile, index: PipelineIndex, folder: Path, replaced: Collection[str], takes_ema: bool
) -> tuple[list[PartKeys], set[str]]:
    """Where the parts' weights lie, and the keys of those that are left alone."""
    wanted = {name: part for name, part in index.family.weighted_parts.items() if name not in replaced}
    homes = {name: next((h for h in IN_CHECKPOINT.get(name, ()) if h.is_in(file.shapes)), None) for name in wanted}
    _check_whole(file.path, {name for name, home in homes.items() if home is None})
    parts: list[PartKeys] = []
    unread: set[str] = set()
    for name, home in homes.items():
        assert home is not None
        with quiet("diffusers", "transformers"):
            shapes = empty_shapes(class_of(wanted[name], folder / name), folder / name)
        keys, others = part_keys(file, name, home, shapes, takes_ema=takes_ema)
        unread |= others
        parts.append(keys)
    return parts, unread | {key for name in replaced for key in file.shapes if key.startswith(prefixes_of(name))}


def _check_whole(path: Path, lacking: Collection[str]) -> None:
    for part in sorted(lacking):
        advice = f"give one with {OPTIONS[part]}" if part in OPTIONS else "take a file that holds all parts"
        raise MezzotintError(f"{path} holds no {part.replace('_', ' ')} that could be read; {advice}")
