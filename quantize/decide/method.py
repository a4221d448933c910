"""What a quantization does beyond its rules: the recipe's method, and the ones that an ablation compares it with."""

from dataclasses import dataclass

from ..calibrate.ranges import RANGE_METHODS, RangeMethods, min_max
from ..passes.contract import Pass
from ..rules.rule import Rule


@dataclass(frozen=True)
class Method:
    """`ranges` are tried for each node, `smooths` says whether SmoothQuant is folded, `rules` follow the recipe's.

    `exact` passes come before everything else: they are the target's, and change nothing but what it costs.
    `attends_in_int8` computes the scores of self-attention in S8. `splits_shortcuts` puts shortcut convolutions of
    concatenations into INT8, split by channel range. `linears_in_floats` takes linears out of INT8, and what they read
    is not smoothed for them; statistics are taken of it all the same, so that they are those of INT8.
    """

    ranges: RangeMethods = RANGE_METHODS
    smooths: bool = True
    rules: tuple[Rule, ...] = ()
    splits_shortcuts: bool = False
    attends_in_int8: bool = False
    linears_in_floats: bool = False
    exact: tuple[Pass, ...] = ()


RECIPE_METHOD = Method()
FLOAT8_RANGES: RangeMethods = (("min-max", min_max),)
"""Of 8-bit floats, whose step grows with the value: clipping the largest values makes no others finer."""
