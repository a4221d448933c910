"""What of AutoencoderTiny's decoder is quantized: a VAE of 3x3 convolutions, ReLUs and nothing else."""

import re
from collections.abc import Iterable, Sequence

from mezzotint.bundle.precision import NodeScheme

from .rule import Rule

TINY_DECODER_W8A8: tuple[Rule, ...] = (
    Rule("*", NodeScheme.W8, "deny all: only what follows computes in integers"),
    Rule("decoder.layers.*.conv.*", NodeScheme.W8A8, "nearly all of the multiplications; inputs are a ReLU's outputs"),
    Rule("decoder.layers.*", NodeScheme.W8A8, "behind an upsampling: 3x3 at full width"),
    Rule("decoder.layers.*.skip", NodeScheme.W8, "the sum's other half, and small"),
    Rule("decoder.layers.0", NodeScheme.FLOAT, "four channels, and every layer hears it"),
)

_LAYER = re.compile(r"decoder\.layers\.(\d+)[./]")


def is_tiny_decoder(nodes: Iterable[str]) -> bool:
    """Whether the weighted nodes of a decoder are those of this class, which has a single list of layers."""
    return any(_LAYER.match(node) for node in nodes)


def tiny_decoder_rules(nodes: Sequence[str]) -> tuple[Rule, ...]:
    """The rules, and one more for the last layer, whose number depends on the depth."""
    last = max(int(match[1]) for node in nodes if (match := _LAYER.match(node)))
    return (*TINY_DECODER_W8A8, Rule(f"decoder.layers.{last}", NodeScheme.FLOAT, "its error is the image's"))
