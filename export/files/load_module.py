"""A PyTorch module from a config and weight files: FP32, in eval mode, with every weight from the files and none left.

Other loaders only warn of weights that are missing, and go on with random numbers. Here the names have to agree once
prefixes and old names are exchanged, and the shapes have to be those that the config means.
"""

import math
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import MezzotintError

from .checkpoint_parts import StoredWeight, Weights
from .json_file import read_object
from .weight_names import fit_names, foreign_prefix

_WRITERS = (("diffusers", "_diffusers_version"), ("transformers", "transformers_version"))
_COUNTS = re.compile(r"layers(_per_block)?$|_blocks$")  # keys whose numbers say how often something is built
_MOST_LAYERS = 1000
_LISTED, _MOST_LISTED = ("max_position_embeddings", "num_labels"), 65536  # as many entries, whatever the weights say
_OTHER_MODEL = "config.json describes another model than the weights; take both from one place"


def load_module(kind: Any, folder: Path, weights: Weights) -> Any:
    """A `kind`, a model class of diffusers or transformers, of `folder`'s config.json with these weights.

    They are read one by one, so that no more than one of them is there twice. Raises MezzotintError for a config that
    cannot be read, and for weights that do not fit it.
    """
    module, fitted = _fit(kind, folder, weights)
    loaded = {name: fitted.pop(name).read().to(torch.float32) for name in list(fitted)}
    module.load_state_dict(loaded, assign=True)
    return module.eval()


def check_module(kind: Any, folder: Path, weights: Weights) -> None:
    """Raise what `load_module` would, without reading the weights themselves."""
    _fit(kind, folder, weights)


def _fit(kind: Any, folder: Path, weights: Weights) -> tuple[Any, Weights]:
    """A module without weights, and its weights by the module's names."""
    config = _read_config(folder)
    module = _empty_module(kind, folder, config)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    constants = {name for name, _ in module.named_buffers()} - expected.keys()  # old files hold them, for nothing
    names = fit_names(weights, {*expected, *constants})
    _check_names(folder, {name: new for name, new in names.items() if new not in constants}, expected, config)
    fitted = {new: weights.pop(name) for name, new in names.items() if new in expected}
    for name, shape in expected.items():
        _check_weight(folder, name, fitted[name], shape)
    return module, fitted


def empty_shapes(kind: Any, folder: Path) -> dict[str, tuple[int, ...]]:
    """The parameters of a `kind` of `folder`'s config.json, without their numbers; MezzotintError as `load_module`."""
    module = _empty_module(kind, folder, _read_config(folder))
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _read_config(folder: Path) -> Mapping[str, Any]:
    config = read_object(folder / "config.json")
    if config.get("quantization_config"):
        raise MezzotintError(f"{folder} holds quantized weights, expected floats; export the checkpoint they came from")
    _check_counts(folder, config)
    return config


def _check_counts(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise MezzotintError for a number of layers that would be built until the memory is full."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            _check_counts(folder, value)
            continue
        most = _MOST_LAYERS if _COUNTS.search(key) else _MOST_LISTED if key in _LISTED else math.inf
        if _largest(value) > most:
            raise MezzotintError(
                f"{folder / 'config.json'} has {key} = {value!r:.80}, expected at most {most}; take the config.json "
                "that belongs to the weights"
            )


def _largest(value: object) -> float:
    """Of a number, or of lists of numbers; 0 for what else there is."""
    if isinstance(value, list):
        return max(map(_largest, value), default=0)
    return value if isinstance(value, int | float) else 0


def _empty_module(kind: Any, folder: Path, config: Mapping[str, Any]) -> Any:
    """The module with parameters that hold no numbers yet."""
    from accelerate import init_empty_weights

    try:
        with init_empty_weights():
            if hasattr(kind, "config_class"):  # transformers
                return kind(kind.config_class.from_pretrained(folder, local_files_only=True))
            return kind.from_config(kind.load_config(folder, local_files_only=True))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MezzotintError(
            f"{folder / 'config.json'} does not describe a {kind.__name__} ({reason:.300}); take the config.json that "
            f"belongs to the weights{_version_advice(config)}"
        ) from error


def _check_names(
    folder: Path, names: Mapping[str, str], expected: Mapping[str, object], config: Mapping[str, Any]
) -> None:
    """`names` are those in the files and what they are in the module."""
    known = set(names.values())
    missing = sorted(expected.keys() - known)
    unexpected = sorted(known - expected.keys())
    adapters = [name for name in unexpected if ".lora_" in name or ".base_layer." in name]
    if adapters:
        raise MezzotintError(
            f"{folder} holds LoRA adapters beside its weights, the first is {adapters[0]}; merge them (fuse_lora and "
            "unload_lora_weights of diffusers, merge_and_unload of PEFT) and save again"
        )
    prefix = foreign_prefix(unexpected, missing)
    if prefix is not None:
        raise MezzotintError(
            f"{folder}: {len(missing)} missing weights, the first is {missing[0]}, and {len(unexpected)} unexpected "
            f"ones with the prefix {prefix!r}; save the module itself, whose names have no such prefix"
        )
    for problem, found in (("missing", missing), ("unexpected", unexpected)):
        if found:
            raise MezzotintError(
                f"{folder}: {len(found)} {problem} weights, the first is {found[0]}, beside {len(expected)} that "
                f"config.json asks for; {_OTHER_MODEL}{_version_advice(config)}"
            )


def _check_weight(folder: Path, name: str, weight: StoredWeight, shape: tuple[int, ...]) -> None:
    if weight.shape != shape:
        raise MezzotintError(
            f"{folder}: the weight {name} has the shape {weight.shape}, expected {shape}; {_OTHER_MODEL}"
        )
    if not weight.dtype.is_floating_point:
        raise MezzotintError(
            f"{folder}: the weight {name} is of {weight.dtype}, expected floats; export the checkpoint from before it "
            "was quantized"
        )


def _version_advice(config: Mapping[str, Any]) -> str:
    """What to install, where a newer library than the installed one wrote the config; else nothing."""
    for package, key in _WRITERS:
        written = config.get(key)
        if isinstance(written, str) and _numbers(written) > _numbers(version(package)):
            return f", or install {package} {written}, which wrote it ({version(package)} is installed)"
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    """(0, 39) of "0.39.0.dev0": the parts of a version by which it can be newer."""
    return tuple(int(part) for part in re.findall(r"\d{1,9}", text)[:2])
