"""Weights of a module that lie in a safetensors file from the start: a model larger than the memory can be drawn.

The file is mapped, so the system writes pages out when it needs their memory, and what changes a parameter in place
changes the file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel

_DTYPE, _NAME = torch.float32, "F32"
_DRAWN = "_is_hf_initialized"


@contextmanager
def without_numbers() -> Iterator[list[torch.nn.Module]]:
    """Modules that are made inside have parameters on the meta device; a list of their layers as they were made.

    A layer draws when it is made, so that this is the order in which the module would have been drawn.
    """
    made: list[torch.nn.Module] = []
    with init_empty_weights():
        register = torch.nn.Module.register_parameter

        def note(layer: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
            if layer not in made:
                made.append(layer)
            register(layer, name, parameter)

        torch.nn.Module.register_parameter = note  # type: ignore[assignment, method-assign]
        try:
            yield made
        finally:
            torch.nn.Module.register_parameter = register  # type: ignore[method-assign]


def draw_into(module: torch.nn.Module, layers: Sequence[torch.nn.Module], path: Path, seed: int) -> None:
    """Give `module`, made `without_numbers`, the FP32 parameters of a new file, drawn by `seed`.

    They are those of the module that would be made with that seed: `layers` are its layers in that order, and each
    draws as it does when it is made. (A model of transformers within another draws in between, which is not imitated.)
    The parameters stay views of the file.
    """
    for owner, name, view in _views(module, _create(module, path)):
        owner.register_parameter(name, torch.nn.Parameter(view, requires_grad=False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            if next(layer.parameters(recurse=False), None) is not None:
                layer.reset_parameters()  # type: ignore[operator]  # every layer of torch that has any has it
        if isinstance(module, PreTrainedModel):
            _draw_again(module)


def _draw_again(model: PreTrainedModel) -> None:
    """transformers draws once more when a model is made, smaller; it notes that it did, and would not do it again."""
    for part in (*model.modules(), *model.parameters()):
        if hasattr(part, _DRAWN):
            delattr(part, _DRAWN)
    model.init_weights()


def _create(module: torch.nn.Module, path: Path) -> Mapping[str, torch.Tensor]:
    """A file of zeros with the names and shapes of the parameters; views of them by name."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, parameter in module.named_parameters():
        end = offset + parameter.numel() * _DTYPE.itemsize
        header[name] = {"dtype": _NAME, "shape": list(parameter.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(start + offset)
    mapped = torch.from_file(str(path), shared=True, size=start + offset, dtype=torch.uint8)[start:].view(_DTYPE)
    sizes = {name: parameter.shape for name, parameter in module.named_parameters()}
    pieces = torch.split(mapped, [shape.numel() for shape in sizes.values()])
    return {name: piece.view(shape) for (name, shape), piece in zip(sizes.items(), pieces, strict=True)}


def _views(
    module: torch.nn.Module, views: Mapping[str, torch.Tensor]
) -> Iterator[tuple[torch.nn.Module, str, torch.Tensor]]:
    """Each parameter's layer, its name there, and its view."""
    for path, view in views.items():
        owner, _, name = path.rpartition(".")
        yield module.get_submodule(owner), name, view
