"""What already lies on a device: the inputs that nobody can have changed since they were copied there.

A run tells its denoiser the same of the texts at every step, and they are most of what goes in (docs/gpu.md).
"""

from collections.abc import Callable

from mezzotint.arrays import Array


class ResidentInputs:
    """Remembers the array that each input's buffer was last filled from.

    The same object again, if it cannot be written to, has the same values and is not copied again.
    """

    def __init__(self) -> None:
        self._filled_from: dict[str, Array] = {}

    def fill(self, name: str, array: Array, copy: Callable[[Array], None]) -> None:
        """Have `copy` fill the buffer of input `name` with `array`, unless that is what it holds."""
        if self._filled_from.get(name) is array and not array.flags.writeable:
            return
        self._filled_from.pop(name, None)  # a copy that fails leaves nothing that is known
        copy(array)
        self._filled_from[name] = array  # held, so that no other array comes to be at its place
