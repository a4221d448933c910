"""Weights found under other names than the module has: a prefix more or less, or names of old versions.

A text encoder has the prefix `text_model.` before transformers 5.6 and none since; `torch.compile` puts `_orig_mod.`
before a module's names, DataParallel `module.`; attention in VAEs had other names before diffusers 0.13.
"""

import re
from collections.abc import Collection, Iterator

_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(.*attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))")


def fit_names(found: Collection[str], expected: Collection[str]) -> dict[str, str]:
    """The name in the module for each name that was found; what has none there keeps the rest of its name.

    Only what every name has in common is exchanged, so that two names never become one.
    """
    bare = {name: _unwrapped(name, expected) for name in found}
    old, new = _prefixes(set(bare.values()), set(expected))
    fitted = {name: _modern(new + inner.removeprefix(old), expected) for name, inner in bare.items()}
    return fitted if len(set(fitted.values())) == len(fitted) else {name: name for name in found}


def foreign_prefix(found: Collection[str], expected: Collection[str]) -> str | None:
    """What stands before the names that would fit without it, where that is no prefix of all; None where none would."""
    known = set(expected)
    for name in sorted(found):
        for prefix in _dotted_prefixes(name):
            if name.removeprefix(prefix) in known:
                return prefix
    return None


def _unwrapped(name: str, expected: Collection[str]) -> str:
    if name in expected:
        return name
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(found: set[str], expected: set[str]) -> tuple[str, str]:
    """The prefix of all found names and the one to have in its place, so that most names fit; the shortest such."""
    best, most = ("", ""), len(found & expected)
    for old in _common_prefixes(found):
        rest = {name.removeprefix(old) for name in found}
        for new in _common_prefixes(expected):
            count = sum(new + name in expected for name in rest)
            if count > most:
                best, most = (old, new), count
    return best


def _common_prefixes(names: set[str]) -> list[str]:
    """The empty one, and every prefix up to a dot that all names have."""
    first = min(names, default="")
    return ["", *(prefix for prefix in _dotted_prefixes(first) if all(name.startswith(prefix) for name in names))]


def _dotted_prefixes(name: str) -> Iterator[str]:
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()]


def _modern(name: str, expected: Collection[str]) -> str:
    old = None if name in expected else _OLD_NAME.fullmatch(name)
    if old is None:
        return name
    renamed = f"{old[1]}{_OLD_ATTENTION[old[2]]}{old[3]}"
    return renamed if renamed in expected else name
