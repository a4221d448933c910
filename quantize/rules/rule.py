"""The contract of this folder: which node computes in integers, by rules that a family has for each role.

Rules are an ordered list of (module-path glob, scheme), deny-all first; the last match wins. Adding a family costs a
file with a `FamilyRules` value, a line in `lineup.FAMILY_RULES` and a test.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role


@dataclass(frozen=True)
class Rule:
    """`pattern` is a shell glob on the module path, such as "*.attn1.to_q"; it is not a regular expression."""

    pattern: str
    scheme: NodeScheme
    why: str

    def __str__(self) -> str:
        return f"{self.pattern} -> {self.scheme}: {self.why}"


RulesFor = Callable[[Sequence[str]], tuple[Rule, ...]]
"""The rules of a graph, whose weighted nodes are called "module.path/OpType"."""


@dataclass(frozen=True)
class FamilyRules:
    """`by_role` has the roles whose components may be INT8."""

    family: str
    by_role: Mapping[Role, RulesFor]


def decide(nodes: Iterable[str], rules: Sequence[Rule]) -> Decisions:
    """One decision a node; names are "module.path/OpType". MezzotintError when no rule matches a node."""
    decisions: Decisions = {}
    for node in nodes:
        module = node.rpartition("/")[0]
        rule = next((rule for rule in reversed(rules) if fnmatchcase(module, rule.pattern)), None)
        if rule is None:
            raise MezzotintError(f"no rule matches the node {node}; start the list with a deny-all rule for *")
        decisions[node] = Decision(node, rule.scheme, str(rule))
    return decisions
