"""Graphs compiled for the shapes they are asked for, of which the two used last stay in memory.

Static shapes are worth 3x on AMX machines and are what CUDA graphs and TensorRT want, so engines that profit compile a
graph for each size and batch. No more than two are kept, since each may hold its own copy of the weights.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

MAX_COMPILED = 2

Shapes = tuple[tuple[int, ...], ...]  # of every input, in the component's order
T = TypeVar("T")


class CompiledGraphs(Generic[T]):
    """What `compile_for` made for the shapes used last. Not for several threads: whoever holds it has a lock."""

    def __init__(self, compile_for: Callable[[Shapes], T]) -> None:
        self._compile_for = compile_for
        self._compiled: OrderedDict[Shapes, T] = OrderedDict()

    def get(self, shapes: Shapes) -> T:
        """The graph for `shapes`, compiled when there is none; the one used longest ago makes room before that."""
        if shapes in self._compiled:
            self._compiled.move_to_end(shapes)
        else:
            while len(self._compiled) >= MAX_COMPILED:
                self._compiled.popitem(last=False)
            self._compiled[shapes] = self._compile_for(shapes)
        return self._compiled[shapes]
