"""Which weight files of a diffusers folder are read, where several variants of a component lie side by side.

Names are those of diffusers and transformers: `diffusion_pytorch_model.fp16.safetensors` is the variant "fp16" of a
UNet or VAE, `model.fp16.safetensors` or `pytorch_model.fp16.bin` that of a text encoder, and the index of a sharded one
is `model.safetensors.index.fp16.json`, before diffusers 0.28 `diffusion_pytorch_model.safetensors.fp16.index.json`. The
variant "" is the plain one. Nothing but names decides, so that a hub's listing does before anything is downloaded.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mezzotint.bundle.weight_faults import stand_in_fault
from mezzotint.errors import MezzotintError
from mezzotint.small_file import read_small_file

from .family import Family

PLAIN = ""
_TRANSFORMERS = "transformers"
_ON_REQUEST = ("non_ema",)  # a training state that nobody means to generate with
_VARIANT = r"(?![^.]*-\d{5}-of-\d{5}\.)[^.]+"  # no shard
_SHARD = re.compile(r".*-\d{5}-of-\d{5}(\.[^.]+)?\.(safetensors|bin)")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What is read of one part of a checkpoint: `name` is the file in its folder, or the index of a sharded one."""

    part: str
    variant: str
    name: str

    @property
    def is_sharded(self) -> bool:
        """Whether `name` is an index that names the files."""
        return self.name.endswith(".json")

    @property
    def is_pickled(self) -> bool:
        """Whether the weights are a .bin rather than safetensors."""
        return ".bin" in self.name


def choose_weights(
    family: Family,
    where: str,
    names: Iterable[str],
    variant: str | None = None,
    without: Collection[str] = (),
    *,
    advice: str = "choose with --variant",
) -> dict[str, Weights]:
    """The weights to read of each part of a checkpoint that has some.

    `names` are files as "vae/config.json", `where` the folder or hub id for messages. The parts in `without` are left
    out. A component without `variant` gives what it gives without one: the plain weights, safetensors before .bin, or
    else the only variant there is. Raises MezzotintError where a component has no weights or leaves the choice open,
    and for a variant nobody has. `advice` is how a choice that is open can be made.
    """
    parts = {name: part for name, part in family.weighted_parts.items() if name not in without}
    files: dict[str, list[str]] = {name: [] for name in parts}
    for folder, _, name in (path.rpartition("/") for path in sorted(names)):
        if folder in files:
            files[folder].append(name)
    found = {name: _variants(name, parts[name].library, own) for name, own in files.items()}
    if variant is not None and not any(variant in variants for variants in found.values()):
        raise MezzotintError(f"{where} has no weights of the variant {variant!r}; it has {_listed(found)}")
    return {
        name: variants[_choice(f"{where}/{name}", parts[name].library, files[name], variants, variant, advice)]
        for name, variants in found.items()
    }


def local_names(family: Family, folder: Path) -> list[str]:
    """The files of a checkpoint's folders with weights as "vae/config.json"."""
    return [path.relative_to(folder).as_posix() for part in family.weighted_parts for path in (folder / part).glob("*")]


def weight_paths(folder: Path, weights: Weights) -> tuple[Path, ...]:
    """The files to read, sorted, `folder` being the checkpoint's; MezzotintError for a bad index or a lost shard."""
    path = folder / weights.part / weights.name
    if not weights.is_sharded:
        if fault := stand_in_fault(path):
            raise MezzotintError(fault)
        return (path,)
    names = shard_names(path)
    lost = [name for name in names if not (path.parent / name).is_file()]
    if lost:
        raise MezzotintError(
            f"{path.parent} lacks {lost[0]}, one of the {len(names)} files that {path.name} names; download it too"
        )
    return tuple(path.parent / name for name in names)


def shard_names(index: Path) -> list[str]:
    """The files beside it that an index names, sorted; MezzotintError when it is none."""
    try:
        data = json.loads(read_small_file(index).decode("utf-8"))
        names = sorted(set(data["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MezzotintError(f"{index} cannot be read as an index of weights ({error!r}); download it again") from None
    foreign = [name for name in names if not isinstance(name, str) or Path(name).name != name or "\\" in name]
    if foreign or not names:
        raise MezzotintError(f"{index} names {foreign[:1]!r:.200}, expected files beside it; download it again")
    return names


def _variants(part: str, library: str, names: Iterable[str]) -> dict[str, Weights]:
    """By variant, the plain one first, what the component's library reads of it."""
    parsed = (one for name in names if (one := _parse(part, library, name)) is not None)
    best: dict[str, Weights] = {}
    for weights in sorted(parsed, key=partial(_order, library)):
        best.setdefault(weights.variant, weights)
    return dict(sorted(best.items()))


def _parse(part: str, library: str, name: str) -> Weights | None:
    safe, pickled = ("model", "pytorch_model") if library == _TRANSFORMERS else ("diffusion_pytorch_model",) * 2
    file = rf"({safe}(\.{_VARIANT})?\.safetensors|{pickled}(\.{_VARIANT})?\.bin)"
    stems = rf"({safe}\.safetensors|{pickled}\.bin)"
    index = rf"{stems}(\.index(\.{_VARIANT})?|\.(?!index\.){_VARIANT}\.index)\.json"
    if not re.fullmatch(rf"{file}|{index}", name):
        return None
    _, *parts = name.split(".")
    given = [part for part in parts if part not in ("safetensors", "bin", "index", "json")]
    return Weights(part=part, variant=given[0] if given else PLAIN, name=name)


def _order(library: str, weights: Weights) -> tuple[bool, bool, str]:
    """Where one variant lies there in several ways: diffusers looks for an index first, transformers last."""
    index_first = library != _TRANSFORMERS
    return weights.is_pickled, weights.is_sharded != index_first, weights.name


def _choice(
    where: str, library: str, files: list[str], variants: Mapping[str, Weights], wanted: str | None, advice: str
) -> str:
    if wanted is not None and wanted in variants:
        return wanted
    if PLAIN in variants:
        return PLAIN
    offered = [name for name in variants if name not in _ON_REQUEST]
    if len(offered) == 1:
        return offered[0]
    if variants:
        raise MezzotintError(f"{where} has the weights {', '.join(variants)} and no plain ones; {advice}")
    stem = "model" if library == _TRANSFORMERS else "diffusion_pytorch_model"
    lying = [name for name in files if not name.endswith((".json", ".txt"))]
    raise MezzotintError(
        f"{where} has no weights: expected {stem}.safetensors, a .bin, or a variant such as {stem}.fp16.safetensors, "
        f"{_instead(stem, lying)}"
    )


def _instead(stem: str, lying: list[str]) -> str:
    """What lies there, and what to do about it."""
    if not lying:
        return "got none; download them too"
    listed = f"got {', '.join(lying[:3])}"
    if any(_SHARD.fullmatch(name) for name in lying):
        return f"{listed}; the index {stem}.safetensors.index.json is lost, download it too"
    if any(name.endswith(".msgpack") for name in lying):
        return f"{listed}; weights of Flax are not read, look for the repository's PyTorch branch"
    return f"{listed}; download the PyTorch weights, or export from a folder that has them"


def _listed(found: Mapping[str, Mapping[str, Weights]]) -> str:
    """ "unet: plain, fp16; vae: plain"."""
    return "; ".join(
        f"{component}: {', '.join(name or 'plain' for name in variants) or 'none'}"
        for component, variants in found.items()
    )
