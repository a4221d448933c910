"""What a file says its factors are to be multiplied by: alpha / rank, or alpha / sqrt(rank) (rs-LoRA).

kohya and LyCORIS store an alpha for each module; the latter stores it such that alpha / rank is right for rs-LoRA too.
PEFT stores none in its files: it stands in adapter_config.json beside them, or in the metadata that diffusers writes.
Without any alpha is the rank, and the factor 1 (Kalajdzievski 2023 has rs-LoRA, equation 5).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.tensor_file import TensorFile

from .module_names import Target

_METADATA = "lora_adapter_metadata"  # of diffusers
_CONFIG = "adapter_config.json"  # of PEFT
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PeftConfig:
    """What PEFT says of one model's adapter; patterns are ends of module paths, or regular expressions for them."""

    alpha: float | None = None
    is_rank_stabilized: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict)

    def factor(self, module: str, rank: int) -> float:
        """Of a module whose factors have that rank and no alpha of their own."""
        own = next((alpha for pattern, alpha in self.alphas.items() if _matches(pattern, module)), self.alpha)
        if own is None:
            return 1.0
        return own / (math.sqrt(rank) if self.is_rank_stabilized else rank)


NO_CONFIG = PeftConfig()


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The configs that come with a file, by folder of the checkpoint; "" for whichever it is."""

    configs: Mapping[str, PeftConfig] = field(default_factory=dict)

    @classmethod
    def of(cls, file: TensorFile) -> "Scaling":
        """From the file's metadata or, of PEFT's own file, the config beside it; MezzotintError for unreadable ones."""
        stated = file.scalars.get(_METADATA)
        if isinstance(stated, str):
            return cls(configs=_by_part(_parsed(stated, file.path), file.path))
        beside = file.path.with_name(_CONFIG)
        if file.path.stem.startswith("adapter_model") and beside.is_file():
            if beside.stat().st_size > _MOST_BYTES:
                raise MezzotintError(f"{beside} is larger than {_MOST_BYTES} bytes; take the adapter's own config")
            return cls(
                configs={"": _config(_parsed(beside.read_text(encoding="utf-8", errors="replace"), beside), beside)}
            )
        return cls()

    def factor(self, target: Target, rank: int | None, alpha: float | None) -> float:
        """What the change of `target` is multiplied by."""
        if rank is None:
            return 1.0
        if alpha is not None:
            return alpha / rank
        config = self.configs.get(target.part, self.configs.get("", NO_CONFIG))
        return config.factor(target.module, rank)


def _parsed(text: str, where: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MezzotintError(f"{where} says of its scale what is no JSON ({error}); download it again") from None
    if not isinstance(data, dict):
        raise MezzotintError(f"{where} says of its scale {data!r:.40}, expected an object; download it again")
    return data


def _by_part(data: Mapping[str, Any], where: Path) -> dict[str, PeftConfig]:
    """diffusers joins the configs of all parts: "unet.r", "text_encoder.lora_alpha"."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in data.items():
        part, separator, key = name.partition(".")
        if separator:
            parts.setdefault(part, {})[key] = value
    return {part: _config(one, where) for part, one in parts.items()}


def _config(data: Mapping[str, Any], where: Path) -> PeftConfig:
    alpha, alphas = data.get("lora_alpha"), data.get("alpha_pattern") or {}
    numbers = [*alphas.values(), *([] if alpha is None else [alpha])] if isinstance(alphas, dict) else [None]
    if not all(_is_number(number) for number in numbers):
        raise MezzotintError(
            f"{where}: lora_alpha and alpha_pattern are {alpha!r:.40} and {alphas!r:.40}, expected numbers"
        )
    return PeftConfig(
        alpha=None if alpha is None else float(alpha),
        is_rank_stabilized=data.get("use_rslora") is True,
        alphas={str(pattern): float(number) for pattern, number in alphas.items()},
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # nan is not


def _matches(pattern: str, module: str) -> bool:
    """As a path or its end. PEFT takes regular expressions too: their signs stand for themselves here."""
    plain = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    return module == plain or module.endswith(f".{plain}") or re.escape(module) == pattern
