"""Which module of ours a trainer's name means.

kohya writes dots as underscores, which cannot be undone: `to_out_0` might be several paths. So the other way round is
gone: every module that the model has is spelled in all the ways that files spell it, and a name must be one of these.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from mezzotint.families.adapter_prefixes import DENOISERS, TEXT_ENCODERS
from mezzotint.families.unet_keys import unet_keys

from .form import Shape

Shapes = Mapping[str, Mapping[str, Shape]]
"""By folder of the checkpoint, the shape of each parameter as PyTorch has it."""

_WRAPPER = "base_model_model_"  # of PEFT
_INNER = "text_model."
_OLD_ATTENTION = (  # what diffusers called a text encoder's projections before it took PEFT's names
    ("self_attn_q_proj", "self_attn_to_q"),
    ("self_attn_k_proj", "self_attn_to_k"),
    ("self_attn_v_proj", "self_attn_to_v"),
    ("self_attn_out_proj", "self_attn_to_out"),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A module: the folder of the checkpoint that it is in, and its path there."""

    part: str
    module: str

    @property
    def weight(self) -> str:
        """The parameter's name."""
        return f"{self.module}.weight"

    @property
    def bias(self) -> str:
        """The parameter's name."""
        return f"{self.module}.bias"


@dataclass(frozen=True, kw_only=True)
class Meant:
    """A target, and whether it was named as the latent diffusion code names it."""

    target: Target
    is_original: bool


class ModuleNames:
    """The names of a model's modules, in every spelling."""

    def __init__(self, table: Mapping[str, Meant | None]) -> None:
        self._table = table

    @classmethod
    def of(cls, shapes: Shapes) -> "ModuleNames":
        """Those of a model whose parameters have these shapes."""
        table: dict[str, Meant | None] = {}
        for part, parameters in shapes.items():
            for name, meant in _spellings(part, parameters):
                known = table.setdefault(name, meant)
                if known is not None and known.target != meant.target:
                    table[name] = None  # could be either
        return cls(table)

    def find(self, owner: str) -> Meant | None:
        """What a file's name means; None for a module that there is not, and for one of several."""
        name = re.sub(r"[.]", "_", owner).removeprefix(_WRAPPER).replace("_processor_", "_")
        return self._table.get(name)


def _spellings(part: str, parameters: Collection[str]) -> Iterator[tuple[str, Meant]]:
    modules = [name.removesuffix(".weight") for name in parameters if name.endswith(".weight")]
    own = {module: Meant(target=Target(part=part, module=module), is_original=False) for module in modules}
    for prefix in TEXT_ENCODERS.get(part, ()):
        yield from ((prefix + name, meant) for module, meant in own.items() for name in _of_text(module))
    for prefix in DENOISERS.get(part, ()):
        yield from ((prefix + name, meant) for module, meant in own.items() for name in _of_denoiser(module))
        for name, key in unet_keys(parameters).items():
            target = Target(part=part, module=name.removesuffix(".weight"))
            if target.module in own:
                original = key.removesuffix(".weight").replace(".", "_")
                yield prefix + original, Meant(target=target, is_original=True)


def _of_denoiser(module: str) -> Iterator[str]:
    name = module.replace(".", "_")
    yield name
    if module.endswith(".to_out.0"):
        yield name.removesuffix("_0")


def _of_text(module: str) -> Iterator[str]:
    inner = module.removeprefix(_INNER).replace(".", "_")
    for name in (inner, f"text_model_{inner}"):
        yield name
        for new, old in _OLD_ATTENTION:
            if name.endswith(new):
                yield name.removesuffix(new) + old
