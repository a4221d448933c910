"""What a denoiser was asked and what it answered, call by call: recorded while an image is generated, replayed later.

A recorder gets whole feeds, by the names of the graph's inputs, and whoever replays them hands them to a graph as they
are: neither has to know what they say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import Array

_FEED, _ONCE = "feed:", "once:"


@dataclass(frozen=True, eq=False)
class DenoiserCall:
    """One call of the denoiser's graph: inputs by name, the timestep among them, and its answer, where it was kept.

    With guidance the negative half of the batch comes first.
    """

    timestep: float
    feeds: Mapping[str, Array]
    output: Array | None = None  # (B, C, h, w), B twice as many as images with guidance


OnCall = Callable[[DenoiserCall], None]
"""Called after each call of the denoiser's graph, in the thread that generates."""


def pack_calls(calls: Sequence[DenoiserCall]) -> dict[str, Array]:
    """The calls of one run as arrays of a file: a feed that is the same in all of them is there once."""
    arrays: dict[str, Array] = {"timesteps": np.array([call.timestep for call in calls])}
    for name, first in calls[0].feeds.items():
        feeds = [call.feeds[name] for call in calls]
        is_same = all(feed is first or np.array_equal(feed, first) for feed in feeds)
        arrays[(_ONCE if is_same else _FEED) + name] = first if is_same else np.stack(feeds)
    outputs = [call.output for call in calls if call.output is not None]
    return arrays | ({"outputs": np.stack(outputs)} if outputs else {})


def unpack_calls(arrays: Mapping[str, Array]) -> tuple[DenoiserCall, ...]:
    """The calls that `pack_calls` packed; KeyError where the arrays are others."""
    once = {name.removeprefix(_ONCE): array for name, array in arrays.items() if name.startswith(_ONCE)}
    each = {name.removeprefix(_FEED): array for name, array in arrays.items() if name.startswith(_FEED)}
    outputs = arrays.get("outputs")
    return tuple(
        DenoiserCall(
            float(timestep),
            {**once, **{name: array[index, ...] for name, array in each.items()}},  # a scalar stays an array
            None if outputs is None else outputs[index],
        )
        for index, timestep in enumerate(arrays["timesteps"])
    )
