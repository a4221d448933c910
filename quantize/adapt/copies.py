"""What of a bundle is copied as it is where some of its graphs become others."""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE, Bundle
from mezzotint.bundle.card import CARD_NAME
from mezzotint.bundle.profile import VARIANTS


def copy_but(bundle: Bundle, changed: Sequence[str], staging: Path) -> None:
    """Copy a bundle's files into the folder `staging`, without its card and the graphs of `changed` components."""
    engines = {one.file.path for name in changed for one in bundle.component(name).engines}
    for entry in bundle.entries():
        path = PurePosixPath(entry.path)
        if path.parts[0] == VARIANTS:
            continue  # of profiles, which were measured with other graphs
        is_graph = path.parts[0] in changed and path.name in (GRAPH_FILE, EXTERNAL_DATA_FILE)
        if not is_graph and entry.path not in (CARD_NAME, *engines):
            (staging / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / entry.path, staging / entry.path)
