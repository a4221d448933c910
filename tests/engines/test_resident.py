"""Which inputs are copied to a device again."""

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.engines.resident import ResidentInputs


def constant(value: float) -> Array:
    array = np.full(3, value, dtype=np.float32)
    array.flags.writeable = False
    return array


def test_only_what_may_have_changed_is_copied() -> None:
    copied: list[Array] = []
    inputs = ResidentInputs()
    text, other, latents = constant(1.0), constant(1.0), np.zeros(3, dtype=np.float32)
    for array in (text, text, other, text, text, latents, latents):
        inputs.fill("x", array, copied.append)
    assert [id(array) for array in copied] == [id(array) for array in (text, other, text, latents, latents)]
    inputs.fill("y", text, copied.append)  # another buffer
    assert copied[-1] is text
    assert len(copied) == 6


def test_a_copy_that_failed_is_made_again() -> None:
    def fail(_array: Array) -> None:
        raise RuntimeError("no memory")

    copied: list[Array] = []
    inputs, text, other = ResidentInputs(), constant(1.0), constant(2.0)
    inputs.fill("x", text, copied.append)
    with pytest.raises(RuntimeError):
        inputs.fill("x", other, fail)
    inputs.fill("x", text, copied.append)
    assert len(copied) == 2
