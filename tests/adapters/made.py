"""Adapters of random factors, written as each trainer writes them, and merged by torch as the papers have it.

Nothing here knows the code under test: names are put together from module paths by rules of their own, and a merge is
what the form's definition says, in FP64.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

__all__ = ["FORMS", "Made", "kohya", "make", "module_weights", "save"]

RANK, ALPHA = 4, 2.0
Factors = dict[str, torch.Tensor]
Merge = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Made:
    """The factors of a module by the ends of their keys, and what becomes of a weight by them."""

    factors: Factors
    delta: torch.Tensor

    def merged(self, weight: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        merged: torch.Tensor = (weight.double() + scale * self.delta).float()
        return merged


def _random(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float32) * 0.3


def _lora(shape: tuple[int, ...], g: torch.Generator) -> Made:
    kernel = shape[2:]
    up = _random(shape[0], RANK, *(1 for _ in kernel), generator=g)
    down = _random(RANK, *shape[1:], generator=g)
    delta = torch.einsum("or,r...->o...", up.double().reshape(shape[0], RANK), down.double()) * ALPHA / RANK
    return Made({"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(ALPHA)}, delta)


def _without_alpha(shape: tuple[int, ...], g: torch.Generator) -> Made:
    made = _lora(shape, g)
    factors = {name: tensor for name, tensor in made.factors.items() if name != "alpha"}
    return Made(factors, made.delta * RANK / ALPHA)


def _tucker(shape: tuple[int, ...], g: torch.Generator) -> Made:
    """Of a convolution with a kernel: 1x1 down to the rank, the kernel there, 1x1 up. Others are plain."""
    if len(shape) != 4 or shape[2] == 1:
        return _lora(shape, g)
    down, up = _random(RANK, shape[1], 1, 1, generator=g), _random(shape[0], RANK, 1, 1, generator=g)
    mid = _random(RANK, RANK, *shape[2:], generator=g)
    pixels = torch.eye(shape[1], dtype=torch.float64).reshape(shape[1], shape[1], 1, 1)
    # What three convolutions in a row make of a single pixel at the centre of each channel is the kernel, turned.
    side = shape[2]
    padded = torch.nn.functional.pad(pixels, (side - 1,) * 4)
    hidden = torch.nn.functional.conv2d(torch.nn.functional.conv2d(padded, down.double()), mid.double())
    answer = torch.nn.functional.conv2d(hidden, up.double())  # (I, O, k, k)
    delta = answer.flip(2, 3).transpose(0, 1) * ALPHA / RANK
    factors = {"lora_up.weight": up, "lora_down.weight": down, "lora_mid.weight": mid, "alpha": torch.tensor(ALPHA)}
    return Made(factors, delta)


def _loha(shape: tuple[int, ...], g: torch.Generator) -> Made:
    rest = int(torch.tensor(shape[1:]).prod())
    factors = {f"hada_w{half}_a": _random(shape[0], RANK, generator=g) for half in (1, 2)}
    factors |= {f"hada_w{half}_b": _random(RANK, rest, generator=g) for half in (1, 2)}
    halves = [factors[f"hada_w{half}_a"].double() @ factors[f"hada_w{half}_b"].double() for half in (1, 2)]
    delta = (halves[0] * halves[1]).reshape(shape) * ALPHA / RANK
    return Made({**factors, "alpha": torch.tensor(ALPHA)}, delta)


def _loha_tucker(shape: tuple[int, ...], g: torch.Generator) -> Made:
    if len(shape) != 4 or shape[2] == 1:
        return _loha(shape, g)
    factors: Factors = {}
    product = torch.ones(shape, dtype=torch.float64)
    for half in (1, 2):
        core, into = _random(RANK, RANK, *shape[2:], generator=g), _random(RANK, shape[1], generator=g)
        out = _random(RANK, shape[0], generator=g)
        factors |= {f"hada_t{half}": core, f"hada_w{half}_b": into, f"hada_w{half}_a": out}
        product *= torch.einsum("ijkl,jr,ip->prkl", core.double(), into.double(), out.double())
    return Made({**factors, "alpha": torch.tensor(ALPHA)}, product * ALPHA / RANK)


def _lokr(shape: tuple[int, ...], g: torch.Generator, *, core: bool = False, whole: bool = False) -> Made:
    """kron of (2, 4) with the rest; channels of every layer here divide so."""
    a, b = (2, 4) if shape[0] % 2 == 0 and shape[1] % 4 == 0 else (1, 1)
    out, into, kernel = shape[0] // a, shape[1] // b, shape[2:]
    taps = int(torch.tensor([1, *kernel]).prod())
    first_out, first_in = _random(a, RANK, generator=g), _random(RANK, b, generator=g)
    first = first_out.double() @ first_in.double()
    if whole:
        second = _random(out, into, *kernel, generator=g)
        factors, scale = {"lokr_w1": first.float(), "lokr_w2": second}, 1.0
        first, second = first.float().double(), second.double()
    elif core and taps > 1:
        t2 = _random(RANK, RANK, *kernel, generator=g)
        w2_a, w2_b = (_random(RANK, channels, generator=g) for channels in (out, into))
        second = torch.einsum("ijkl,ip,jr->prkl", t2.double(), w2_a.double(), w2_b.double())
        factors = {"lokr_w1": first.float(), "lokr_t2": t2, "lokr_w2_a": w2_a, "lokr_w2_b": w2_b}
        first, scale = first.float().double(), ALPHA / RANK
    else:
        w2_a, w2_b = _random(out, RANK, generator=g), _random(RANK, into * taps, generator=g)
        second = (w2_a.double() @ w2_b.double()).reshape(out, into, *kernel)
        factors = {"lokr_w1_a": first_out, "lokr_w1_b": first_in, "lokr_w2_a": w2_a, "lokr_w2_b": w2_b}
        scale = ALPHA / RANK
    delta = torch.kron(first.reshape(a, b, *(1 for _ in kernel)), second.contiguous()) * scale
    return Made({**factors, "alpha": torch.tensor(ALPHA)}, delta)


def _full(shape: tuple[int, ...], g: torch.Generator) -> Made:
    difference = _random(*shape, generator=g) * 0.1
    return Made({"diff": difference}, difference.double())


class Decomposed(Made):
    """DoRA: the weight and the change together, brought to the stated norm of each row or column."""

    def merged(self, weight: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        both = weight.double() + self.delta
        stated = self.factors["dora_scale"].double()
        axis = 0 if stated.shape[0] == weight.shape[0] else 1
        norms = both.transpose(0, axis).flatten(1).norm(dim=1)
        shape = [1] * weight.dim()
        shape[axis] = -1
        decomposed = both * stated / norms.reshape(shape)
        merged: torch.Tensor = (weight.double() + scale * (decomposed - weight.double())).float()
        return merged


def _dora(shape: tuple[int, ...], g: torch.Generator, axis: int = 0) -> Made:
    made = _lora(shape, g)
    dims = [1] * len(shape)
    dims[axis] = shape[axis]
    stated = torch.rand(dims, generator=g) + 0.5
    return Decomposed({**made.factors, "dora_scale": stated}, made.delta)


FORMS: Final[Mapping[str, Callable[[tuple[int, ...], torch.Generator], Made]]] = {
    "lora": _lora,
    "lora without alpha": _without_alpha,
    "tucker": _tucker,
    "loha": _loha,
    "loha tucker": _loha_tucker,
    "lokr": _lokr,
    "lokr core": lambda shape, g: _lokr(shape, g, core=True),
    "lokr whole": lambda shape, g: _lokr(shape, g, whole=True),
    "full": _full,
    "dora": _dora,
    "dora of inputs": lambda shape, g: _dora(shape, g, axis=1),
}


def module_weights(module: torch.nn.Module, *, norms: bool = False) -> dict[str, Any]:
    """The weights of all convolutions and linears, or of all norms, by module path."""
    kinds = (torch.nn.GroupNorm, torch.nn.LayerNorm) if norms else (torch.nn.Conv2d, torch.nn.Linear)
    return {name: one.weight for name, one in module.named_modules() if isinstance(one, kinds)}


def make(form: str, shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Made]:
    """Factors of a form for every module of these weights' shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: FORMS[form](shape, generator) for name, shape in shapes.items()}


def kohya(prefix: str) -> Callable[[str], str]:
    return lambda module: prefix + module.replace(".", "_")


def save(
    path: Path,
    made: Mapping[str, Made],
    named: Callable[[str], str],
    end: Callable[[str], str] = lambda kind: f".{kind}",
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write the factors under `named` modules; `end` makes the end of a key of a kind."""
    tensors = {
        named(module) + end(kind): tensor.contiguous()
        for module, one in made.items()
        for kind, tensor in one.factors.items()
    }
    texts = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    save_file(tensors, path, texts or None)
    return path
