"""The kinds of case there are, and the file that loads each: imported only then, for torch is in one of them."""

from importlib import import_module
from typing import cast

from mezzotint.errors import MezzotintError

from .case import Case, Kind, Subject

__all__ = ["KINDS", "load_subject"]

KINDS: tuple[tuple[Kind, str], ...] = (
    ("baseline", ".baseline"),
    ("bundle", ".bundle_subject"),
    ("optimum", ".peer_optimum"),
    ("genai", ".peer_genai"),
)


def load_subject(case: Case) -> Subject:
    """Load the case, with `load(case)` of its kind's file."""
    for kind, module in KINDS:
        if kind == case.kind:
            return cast(Subject, import_module(module, __package__).load(case))
    raise MezzotintError(f"there is no kind of case {case.kind!r}; known are {', '.join(kind for kind, _ in KINDS)}")
