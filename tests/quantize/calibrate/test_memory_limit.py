"""Sizes as people write them, and groups of tensors that fit beside the graph."""

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.quantize.calibrate.memory_limit import groups_within, parse_bytes
from mezzotint.quantize.calibrate.statistics import Probe

PROBES = [Probe(name, 1) for name in "abcdef"]
SIZES = {"a": 50, "b": 70, "c": 10, "d": 90, "e": 20, "f": 60}  # MB
BYTES = {name: size * 10**6 for name, size in SIZES.items()}
WEIGHTS = 800 * 10**6
GRAPH = 1_595_000_000  # 0.5 GB, 1.2 times the weights, 0.45 times the tensors


@pytest.mark.parametrize(
    ("text", "size"), [("6GB", 6 * 10**9), ("512 MiB", 512 * 2**20), ("1.5gb", 15 * 10**8), ("123", 123), ("7B", 7)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "6 gigabytes", "6G B"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(MezzotintError, match="such as 6GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("room", "groups"), [(300, ["abcdef"]), (130, ["abc", "de", "f"]), (90, ["a", "bc", "d", "ef"])]
)
def test_groups_hold_what_the_limit_leaves_and_keep_the_order(room: int, groups: list[str]) -> None:
    found = groups_within(GRAPH + room * 10**6, WEIGHTS, PROBES, BYTES)
    assert ["".join(probe.tensor for probe in group) for group in found] == groups


def test_a_limit_below_the_graph_is_refused_with_one_that_would_do() -> None:
    with pytest.raises(MezzotintError, match=r"is 1\.65 GB.* at least --memory-limit 1\.(69|70)GB") as error:
        groups_within(1_650_000_000, WEIGHTS, PROBES, BYTES)
    offered = parse_bytes(str(error.value).rpartition(" ")[2])
    assert groups_within(offered, WEIGHTS, PROBES, BYTES)
