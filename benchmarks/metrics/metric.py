"""The contract of a fidelity metric: a pure function of what reference and case generated for a prompt.

Adding one costs a function, a line in `fidelity.METRICS` and a test against an independent implementation. A metric
that cannot be computed raises NotComputedError with the reason, which the report shows in the figure's place.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from mezzotint.arrays import FloatArray


class NotComputedError(Exception):
    """Why a metric has no value here, in a few words: "images are smaller than 11 pixels"."""


@dataclass(frozen=True, eq=False)
class Generation:
    """One prompt's result. `guided` and `outputs` are None where the case was not teacher-forced."""

    pixels: FloatArray  # (H, W, 3) in [0, 1], before rounding
    latents: FloatArray | None  # (4, h, w)
    guided: FloatArray | None = None  # (S, 4, h, w), teacher-forced: on the reference's states
    outputs: FloatArray | None = None  # (S, G, 4, h, w), the halves that `guided` is made of
    prompt: str = ""


@dataclass(frozen=True)
class Metric:
    """`compute(reference, test)` gives the value; `best` is what two identical generations give.

    `curve` gives one value a step (S,), where the metric is a summary of steps. With `weights`, a path below the folder
    that the user names, `compute` gets that path as a third argument. A metric `of_set` gets all references and all
    tests as two sequences, and gives one value for the whole set.
    """

    name: str
    title: str
    unit: str
    best: float
    compute: Callable[..., float]
    _: KW_ONLY
    curve: Callable[[Generation, Generation], list[float]] | None = None
    weights: str | None = None
    of_set: bool = False
    higher_is_better: bool = True
