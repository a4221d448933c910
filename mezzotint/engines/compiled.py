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
    """What was compiled for the shapes used last. Not for several threads: whoever holds it has a lock.

    It does not keep what compiles: that is a method of whoever holds it, and the two would hold each other, weights and
    all, until Python's collector passes.
    """

    def __init__(self) -> None:
        self._compiled: OrderedDict[Shapes, T] = OrderedDict()

    def get(self, shapes: Shapes, compile_for: Callable[[Shapes], T]) -> T:
        """The graph for `shapes`, compiled when there is none; the one used longest ago makes room before that."""
        if shapes in self._compiled:
            self._compiled.move_to_end(shapes)
        else:
            while len(self._compiled) >= MAX_COMPILED:
                self._compiled.popitem(last=False)
            self._compiled[shapes] = compile_for(shapes)
        return self._compiled[shapes]
