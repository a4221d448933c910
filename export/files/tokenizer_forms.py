"""A tokenizer's folder may hold it twice, and its readers take one or the other: both have to say the same ids.

transformers before version 5 reads vocab.json and merges.txt for diffusers, others tokenizer.json where there is one.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.tokenizer_files import read_tokenizer

_WHOLE, _LISTS = "tokenizer.json", ("vocab.json", "merges.txt")
# Case, spaces, digits, contractions and punctuation: what the readers of CLIP's vocabulary agree upon.
_PROBES = ("A photo of 2 Cats, isn't it?", "an  old ROBOT\n in the rain (highly detailed), 4k; by_night!", "xylophone")


def check_forms(folder: Path) -> None:
    """Raise MezzotintError where the two forms of a tokenizer in `folder` read the same text differently."""
    if not all((folder / name).is_file() for name in (_WHOLE, *_LISTS)):
        return
    with TemporaryDirectory(prefix="mezzotint-") as scratch:
        lists = shutil.copytree(folder, Path(scratch) / folder.name, ignore=shutil.ignore_patterns(_WHOLE))
        try:
            one, other = read_tokenizer(folder).backend, read_tokenizer(lists).backend
        except MezzotintError as error:
            raise MezzotintError(str(error).replace(str(lists), str(folder))) from error
    for probe in _PROBES:
        ids = [backend.encode(probe, add_special_tokens=False).ids for backend in (one, other)]
        if ids[0] != ids[1]:
            raise MezzotintError(
                f"{folder} holds two tokenizers: {probe!r} is {ids[0]!r:.60} to {_WHOLE}, and {ids[1]!r:.60} to "
                f"{' and '.join(_LISTS)}; keep the files that belong to the text encoder"
            )
