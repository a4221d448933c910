"""The tensors of one adapted module, by what they are there for, whatever the format calls them.

Trainers write the same factors under many names: kohya `lora_down`, PEFT `lora_A`, diffusers `lora.down` and
`_lora.down`. Here the ends of keys become kinds; what stands before them says which module is meant (module_names.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.tensor_file import TensorFile

ALPHA, MAGNITUDE, ROW_MAGNITUDE = "alpha", "dora_scale", "row_magnitude"
DOWN, UP, MID = "lora_down", "lora_up", "lora_mid"
DIFF, DIFF_BIAS, NORM, NORM_BIAS = "diff", "diff_b", "w_norm", "b_norm"

_ADAPTER = r"(\.(?!weight\b|bias\b)\w+)?"  # PEFT may name it, as in lora_A.default.weight
_ENDS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(rf"(?P<owner>.+?){end}"), kind)
    for end, kind in (
        (rf"\.lora_A{_ADAPTER}\.weight", DOWN),
        (rf"\.lora_B{_ADAPTER}\.weight", UP),
        (r"\.lora_linear_layer\.down\.weight", DOWN),
        (r"\.lora_linear_layer\.up\.weight", UP),
        (r"[._]lora\.down\.weight", DOWN),
        (r"[._]lora\.up\.weight", UP),
        *((rf"\.{kind}\.weight", kind) for kind in (DOWN, UP, MID)),
        (rf"\.lora_magnitude_vector{_ADAPTER}(\.weight)?", ROW_MAGNITUDE),
        *((rf"\.{kind}", kind) for kind in (ALPHA, MAGNITUDE, DIFF, DIFF_BIAS, NORM, NORM_BIAS)),
        *((rf"\.{kind}", kind) for kind in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")),
        *((rf"\.{kind}", kind) for kind in ("lokr_w1", "lokr_w1_a", "lokr_w1_b")),
        *((rf"\.{kind}", kind) for kind in ("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")),
    )
)


@dataclass(frozen=True, kw_only=True)
class Factors:
    """The factors of one module: the file's names of them by kind. `owner` is what stands before them all."""

    file: TensorFile
    owner: str
    names: Mapping[str, str]

    @property
    def kinds(self) -> frozenset[str]:
        """Of what there is."""
        return frozenset(self.names)

    def shape(self, kind: str) -> tuple[int, ...]:
        """That the file states; KeyError for a kind that there is not."""
        return self.file.specs[self.names[kind]].shape

    def read(self, kind: str) -> FloatArray:
        """In FP32. MezzotintError for a tensor that is damaged or holds no floats."""
        return self.file.read_float32(self.names[kind])

    def alpha(self) -> float | None:
        """The number that the rank is compared with; None where the file has none. MezzotintError for no number."""
        if ALPHA not in self.names:
            return None
        name = self.names[ALPHA]
        array = self.file.read(name)
        if self.file.specs[name].dtype.startswith(("float", "bfloat")):
            array = self.file.read_float32(name)
        if array.size != 1:
            raise MezzotintError(
                f"{self.file.path}: {name} has the shape {array.shape}, expected one number; download it again"
            )
        return float(array.reshape(()).item())


def group_factors(file: TensorFile) -> tuple[dict[str, Factors], tuple[str, ...]]:
    """The factors by owner, and the keys that end like none of them.

    Raises MezzotintError for two names of one and the same thing.
    """
    groups: dict[str, dict[str, str]] = {}
    unknown: list[str] = []
    for name in file.names:
        found = _split(name)
        if found is None:
            unknown.append(name)
            continue
        owner, kind = found
        twice = groups.setdefault(owner, {}).setdefault(kind, name)
        if twice != name:
            raise MezzotintError(f"{file.path} has both {twice} and {name}, which are the same; keep one of them")
    factors = {owner: Factors(file=file, owner=owner, names=names) for owner, names in groups.items()}
    return factors, tuple(unknown)


def _split(name: str) -> tuple[str, str] | None:
    for end, kind in _ENDS:
        found = end.fullmatch(name)
        if found is not None:
            return found["owner"], kind
    return None
