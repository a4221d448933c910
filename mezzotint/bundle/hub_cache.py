"""Bundles in huggingface_hub's cache, whose folders consist of links to files that lie elsewhere under other names.

    HUB/models--OWNER--NAME/blobs/SHA256
    HUB/models--OWNER--NAME/snapshots/REVISION/unet/model.onnx -> ../../../blobs/SHA256

OpenVINO reads no weights through a link that leaves the graph's folder. For it a graph and its weights get hard links
side by side, in the repository's own folder, so that they take no room and go when it goes:

    HUB/models--OWNER--NAME/mezzotint/REVISION/unet/model.onnx
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_REPOSITORY, _SNAPSHOTS, _LINKED = "models--", "snapshots", "mezzotint"


def repository_folder(folder: Path) -> Path | None:
    """The folder of the repository whose snapshot `folder` is, or lies in; None outside the hub's cache."""
    for parent in folder.resolve().parents:
        if parent.name == _SNAPSHOTS and parent.parent.name.startswith(_REPOSITORY):
            return parent.parent
    return None


def side_by_side(graph: Path, weights: Sequence[Path]) -> Path:
    """Where the graph lies beside its `weights` as files and not as links; `graph` itself where that is so already.

    Also where the file system takes no hard links, or the cache is another user's: some engines do without.
    """
    repository = repository_folder(graph.parent)
    linked = [path for path in weights if path.is_symlink()]
    if repository is None or not linked:
        return graph
    snapshot = graph.parent.resolve().relative_to(repository / _SNAPSHOTS)
    folder = repository / _LINKED / snapshot
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (graph, *linked):
            _link(path.resolve(), folder / path.name)
    except OSError:
        return graph
    return folder / graph.name


def _link(source: Path, place: Path) -> None:
    """A hard link to `source` at `place`; another process may make the same at the same time."""
    if place.exists() and not place.samefile(source):
        place.unlink()  # of a blob that was deleted and fetched again
    with suppress(FileExistsError):
        os.link(source, place)
