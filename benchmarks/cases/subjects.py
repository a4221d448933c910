"""The kinds of case there are, and the file that loads each: imported only then, for torch is in one of them."""

from importlib import import_module
from importlib.util import resolve_name
from typing import cast

from mezzotint.errors import MezzotintError

from .case import Case, Kind, Subject

KINDS: tuple[tuple[Kind, str], ...] = (
    ("baseline", ".baseline"),
    ("bundle", ".bundle_subject"),
    ("stand-in", ".stand_in_subject"),
    ("optimum", ".peer_optimum"),
    ("genai", ".peer_genai"),
)


def load_subject(case: Case) -> Subject:
    """Load the case, with `load(case)` of its kind's file."""
    return cast(Subject, import_module(module_of(case.kind)).load(case))


def module_of(kind: str) -> str:
    """The dotted name of the file that loads cases of `kind`; MezzotintError lists the kinds that there are."""
    module = dict[str, str](KINDS).get(kind)
    if module is None:
        raise MezzotintError(f"there is no kind of case {kind!r}; known are {', '.join(kind for kind, _ in KINDS)}")
    return resolve_name(module, __package__)
