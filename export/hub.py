"""A hub repository as a local folder: texts first, then the weights that are read, one variant of each component."""

import re
from collections.abc import Sequence
from pathlib import Path

from mezzotint.bundle.bundle import GRAPH_FILE
from mezzotint.disk_full import disk_full_error
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of_checkpoint, is_optimum_folder
from mezzotint.families.weight_files import choose_weights, local_names, shard_names, weight_paths

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_TEXTS = ("README.md", "model_index.json", "*/*.json", "*/*.txt")  # the first states the licence
_GRAPHS = (".onnx", ".onnx_data")  # of a repository that Optimum exported


def download(model: str, variant: str | None = None) -> Path:
    """The snapshot folder of `model` ("owner/name") in the hub's cache; what was not there is downloaded.

    Without a network the folder holds what the cache does. Raises MezzotintError when that is nothing, when a download
    breaks off, and as `choose_weights` does.
    """
    from huggingface_hub import HfApi

    folder = snapshot(model, None, _TEXTS)
    try:
        listed = HfApi().model_info(model, revision=folder.name).siblings or []
    except Exception as error:  # noqa: BLE001 -- no network: the texts came from the cache, and so may the weights
        _check_cached(folder, model, variant, error)
        return folder
    names = [file.rfilename for file in listed]
    return snapshot(model, folder.name, _needed(folder, model, names, variant))


def listed_files(model: str, revision: str) -> list[str] | None:
    """The files of a repository; None where the hub does not answer, as without a network."""
    from huggingface_hub import HfApi

    try:
        listed = HfApi().model_info(model, revision=revision).siblings or []
    except Exception:  # noqa: BLE001 -- the client has many, and what it got before lies in the cache
        return None
    return [file.rfilename for file in listed]


def _check_cached(folder: Path, model: str, variant: str | None, reason: Exception) -> None:
    if is_optimum_folder(folder):
        return
    try:
        family = family_of_checkpoint(folder)
        for weights in choose_weights(family, str(folder), local_names(family, folder), variant).values():
            weight_paths(folder, weights)
    except MezzotintError as error:
        raise MezzotintError(
            f"{error}: this is the hub's cache of {model}, and the hub gave nothing ({type(reason).__name__}); run it "
            "again where there is a network"
        ) from reason


def _needed(folder: Path, model: str, names: Sequence[str], variant: str | None) -> list[str]:
    """The weight files to download; `folder` has the indexes of sharded ones already."""
    has_graphs = any(name.endswith(f"/{GRAPH_FILE}") for name in names)
    if has_graphs and not any(name.endswith((".safetensors", ".bin")) for name in names):
        return [name for name in names if name.endswith(_GRAPHS)]
    needed: list[str] = []
    for component, weights in choose_weights(family_of_checkpoint(folder), model, names, variant).items():
        index = folder / component / weights.name
        files = shard_names(index) if weights.is_sharded else [weights.name]
        needed += [f"{component}/{file}" for file in files]
    return needed


def snapshot(model: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The repository's folder in the hub's cache, with the files that fit; MezzotintError where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise MezzotintError(
            f"{model} is no local folder, and on the hub it is gated; accept its terms there and run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise MezzotintError(
            f"{model} is no local folder, and the hub has no such repository, or a private one; check the name, or run "
            "`hf auth login`"
        ) from error
    except Exception as error:
        full = disk_full_error(error)
        if full is not None:
            raise full from error
        raise MezzotintError(
            f"{model} is no local folder, and the hub gave no copy of it ({type(error).__name__}); "
            "download it where there is a network and pass the folder"
        ) from error
