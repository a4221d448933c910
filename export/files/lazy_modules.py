"""Modules that are loaded when they are first asked for: of a large checkpoint they do not fit in memory together."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class LazyModules(Mapping[str, Any]):
    """PyTorch modules by folder. Asking what there are loads none; asking for one loads it once, or raises as it does.

    Whoever has done with a module empties its parameters, which is all the memory that it takes.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], Any]]) -> None:
        self._loaders = loaders
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)
