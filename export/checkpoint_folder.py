"""A diffusers folder or a hub id: its configs, and one variant of the weights of each part."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from mezzotint.bundle.manifest import Source
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family
from mezzotint.families.source_hash import weights_sha256
from mezzotint.families.weight_files import PLAIN, choose_weights, local_names, weight_paths

from .families.lineup import export_of
from .files.checkpoint_parts import CheckpointParts
from .files.component_classes import check_classes
from .files.pipeline_index import read_index
from .files.weight_reader import open_weights
from .hub import HUB_ID, download


def folder_parts(
    model: str, folder: Path, variant: str | None = None, without: Collection[str] = ()
) -> CheckpointParts:
    """The parts of the diffusers folder `folder`, which is what `model` stands for.

    Weights of the parts in `without` are not looked for. Raises MezzotintError for a folder of no known family, and as
    `choose_weights`.
    """
    check_no_pointers(folder.glob("*.json"))
    index = read_index(folder)
    if not without:  # what a config asks for in vain comes before weights that lack: it is not worth a download
        check_configs(index.family, folder)
    weights = choose_weights(index.family, str(folder), local_names(index.family, folder), variant, without)
    name = folder.resolve().name if Path(model).exists() else model
    variants = {part: chosen.variant for part, chosen in weights.items() if chosen.variant != PLAIN}
    return CheckpointParts(
        folder=folder,
        index=index,
        weights={part: partial(open_weights, weight_paths(folder, chosen)) for part, chosen in weights.items()},
        source=Source(name, weights_sha256(folder, variant, without), variants),
    )


def check_configs(family: Family, folder: Path) -> None:
    """Raise MezzotintError for a text that git-lfs has not fetched, and for what a config asks for in vain."""
    texts = (path for part in ("scheduler", *family.checkpoint) for path in (folder / part).glob("*"))
    check_no_pointers(path for path in texts if path.suffix in (".json", ".txt"))
    check_classes(family, folder)
    export_of(family).check(folder)


def resolve_folder(model: str, variant: str | None = None) -> Path:
    """A local folder as it is; a hub id ("owner/name") through the local hub cache, downloaded when it is not there.

    Of a hub repository only the weights of `variant` are downloaded; see `choose_weights`.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists():
        what = "a file" if folder.is_file() else "a pipe or a device"
        raise MezzotintError(f"{model} is {what}, expected a diffusers folder")
    if not HUB_ID.fullmatch(model):
        raise MezzotintError(
            f"{model} does not exist; expected a diffusers folder, a .safetensors or .ckpt file, or a hub id such as "
            "owner/name"
        )
    return download(model, variant)
