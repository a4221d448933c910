"""Which attentions compute their scores in 8 bits, and by which scales: those of a recipe that asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme

from ..calibrate.statistics import Probe, TensorStatistics
from ..passes.self_attention import SelfAttention, find_self_attentions

_RULE = "int8-attention -> w8a8: scores of self-attention in S8, a scale for each head, keys centred"
_LARGEST_CODE = 127.0


@dataclass(frozen=True)
class Scores:
    """The attentions of a graph that compute their scores in 8 bits."""

    attentions: tuple[SelfAttention, ...] = ()

    @classmethod
    def of(cls, graph: ir.Graph) -> "Scores":
        """All that can."""
        return cls(tuple(find_self_attentions(graph)[0]))

    def probes(self) -> Sequence[Probe]:
        """What has to be observed: queries and keys as their linears make them."""
        return [Probe(str(value.name), -1) for one in self.attentions for value in (one.query, one.key)]

    def centres(self, statistics: Mapping[str, TensorStatistics]) -> dict[str, FloatArray]:
        """The mean key (C,), by the keys' name."""
        return {str(one.key.name): statistics[str(one.key.name)].channel_mean for one in self.attentions}

    def decisions(self, statistics: Mapping[str, TensorStatistics]) -> Decisions:
        """One decision an attention."""
        return {one.name: self._decision(one, statistics) for one in self.attentions}

    def _decision(self, one: SelfAttention, statistics: Mapping[str, TensorStatistics]) -> Decision:
        query, key = (statistics[str(value.name)] for value in (one.query, one.key))
        decision = Decision(one.name, NodeScheme.W8A8, _RULE, range_method="min-max, by head")
        return replace(
            decision,
            query_scales=_scales(query.channel_absmax, one.heads),
            key_scales=_scales(_largest(key, key.channel_mean), one.heads),
        )


def _largest(statistics: TensorStatistics, centre: FloatArray) -> FloatArray:
    """Of each channel, after the centre is subtracted: (C,)."""
    largest: FloatArray = np.maximum(centre - statistics.channel_low, statistics.channel_high - centre)
    return largest


def _scales(largest: Array, heads: int) -> tuple[float, ...]:
    """One a head, which has C / heads channels; 1 for a head of zeros, whose every value is then exact."""
    by_head = largest.reshape(heads, -1).max(axis=1).astype(np.float64) / _LARGEST_CODE
    return tuple(float(np.float32(scale)) if scale > np.finfo(np.float32).tiny else 1.0 for scale in by_head)
