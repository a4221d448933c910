"""The contract of a family's export: which graphs its modules become, and what its pipeline makes of configs.

Which folders a checkpoint has, and which classes they hold, its torch-free half says (mezzotint/families). Adding one
costs a file here with an `ExportFamily` value, a line in `lineup.EXPORT_FAMILIES` and a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mezzotint.families.family import Family

from ..checkpoint import Checkpoint
from ..graph_source import GraphSource


def _as_it_is(config: Mapping[str, Any]) -> dict[str, Any]:
    return dict(config)


@dataclass(frozen=True, kw_only=True)
class ExportFamily:
    """`sources` are a graph for each of the family's components, in the order in which a call runs them.

    `scheduler_config` is what the pipeline's constructor makes of scheduler_config.json.
    """

    family: Family
    sources: Callable[[Checkpoint], tuple[GraphSource, ...]]
    scheduler_config: Callable[[Mapping[str, Any]], dict[str, Any]] = _as_it_is
