"""Files of textual inversion (Gal et al. 2022): vectors that stand for a new word in a text encoder's table.

diffusers saves `{"<word>": vectors}`, AUTOMATIC1111's interface a pickle with `string_to_param` or safetensors with
`emb_params`, and trainers for Stable Diffusion XL `clip_l` and `clip_g`, one for each text encoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import sha256_of
from mezzotint.errors import MezzotintError
from mezzotint.families.adapter_prefixes import EMBEDDING_KEYS
from mezzotint.tensor_files.opening import open_tensor_file
from mezzotint.tensor_files.tensor_file import TensorFile

_ONE = ("emb_params", "string_to_param.*")
_MOST_VECTORS = 75  # what a prompt has room for
_MOST_CHARACTERS = 100


@dataclass(frozen=True, kw_only=True)
class GivenEmbedding:
    """A file, and the word that it is to be; None: what the file says, or its name."""

    path: Path
    word: str | None = None


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """`vectors` (n, width) by text encoder; under "" those of a file that has them for one, whichever it is."""

    path: Path
    sha256: str
    word: str
    vectors: Mapping[str, FloatArray]

    @property
    def count(self) -> int:
        """Vectors of the word, the same for each text encoder."""
        return len(next(iter(self.vectors.values())))

    @property
    def words(self) -> tuple[str, ...]:
        """One for each vector: `<cat>`, `<cat>_1` and so on, as diffusers has them."""
        return (self.word, *(f"{self.word}_{index}" for index in range(1, self.count)))

    def of(self, encoder: str, width: int, encoders: int) -> FloatArray:
        """The vectors for one of a model's text encoders; MezzotintError where there are none that fit."""
        vectors = self.vectors.get(encoder)
        if vectors is None and encoders == 1:
            vectors = self.vectors.get("")
        if vectors is None:
            has = ", ".join(EMBEDDING_KEYS.get(name, "vectors for one") for name in self.vectors)
            raise MezzotintError(
                f"{self.path} has {has}, and the model's {encoder.replace('_', ' ')} asks for "
                f"{EMBEDDING_KEYS.get(encoder, 'its own')}; take an embedding that was made for this model"
            )
        if vectors.shape[1] != width:
            raise MezzotintError(
                f"{self.path} has vectors of {vectors.shape[1]} numbers, expected {width} for the {encoder}; take an "
                "embedding that was made for this model"
            )
        return vectors


def parse_embedding(text: str) -> GivenEmbedding:
    """Of "FILE" or "FILE:WORD"; MezzotintError where there is no such file."""
    if Path(text).is_file():
        return GivenEmbedding(path=Path(text))
    path, separator, word = text.rpartition(":")
    if not separator or not Path(path).is_file():
        raise MezzotintError(f"{text!r:.200} is not a file, expected an embedding as FILE or FILE:WORD")
    return GivenEmbedding(path=Path(path), word=word)


def read_embedding(given: GivenEmbedding) -> Embedding:
    """Read a file; nothing in a pickle is run. MezzotintError for one that holds no vectors of a word."""
    with open_tensor_file(given.path) as file:
        names, stated = _names(file)
        vectors = {encoder: _vectors(file, name) for encoder, name in names.items()}
    if len({len(one) for one in vectors.values()}) > 1:
        raise MezzotintError(f"{given.path} has other numbers of vectors for its text encoders; download it again")
    word = given.word if given.word is not None else stated or given.path.stem
    return Embedding(path=given.path, sha256=sha256_of(given.path), word=_checked(word, given.path), vectors=vectors)


def _names(file: TensorFile) -> tuple[dict[str, str], str | None]:
    """The tensor of each text encoder, and the word that the file says."""
    pairs = {encoder: key for encoder, key in EMBEDDING_KEYS.items() if key in file.names}
    if pairs and len(pairs) == len(file.names):
        return pairs, None
    one = next((name for name in _ONE if name in file.names), None)
    said = file.scalars.get("name")
    if one is not None:
        return {"": one}, said if isinstance(said, str) and one != _ONE[0] else None
    if len(file.names) == 1:
        (name,) = file.names
        return {"": name}, name
    listed = ", ".join(name[:60] for name in file.names[:3])
    raise MezzotintError(
        f"{file.path} holds {len(file.names)} tensors ({listed}), expected the vectors of a word as textual inversion "
        "saves them; a LoRA is for `mezzotint lora`"
    )


def _vectors(file: TensorFile, name: str) -> FloatArray:
    shape = file.specs[name].shape
    if len(shape) not in (1, 2) or not all(shape) or (len(shape) == 2 and shape[0] > _MOST_VECTORS):
        raise MezzotintError(
            f"{file.path}: {name[:60]} has the shape {shape}, expected vectors (n, width), at most {_MOST_VECTORS}"
        )
    vectors = file.read_float32(name).reshape(-1, shape[-1]).copy()
    if not np.isfinite(vectors).all():
        raise MezzotintError(f"{file.path}: {name[:60]} has numbers that are not finite; download it again")
    return vectors


def _checked(word: str, path: Path) -> str:
    if not word or len(word) > _MOST_CHARACTERS or not word.isprintable() or any(sign.isspace() for sign in word):
        raise MezzotintError(
            f"{path}: the word is {word!r:.60}, expected one without spaces; say another with {path}:WORD"
        )
    return word
