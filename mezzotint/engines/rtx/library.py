"""TensorRT-RTX's bindings: whether they are installed, which GPUs they compile for, and what they say."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from mezzotint.errors import MezzotintError

CAPABILITIES: Mapping[str, str] = {
    "7.5": "SM75",
    "8.0": "SM80",
    "8.6": "SM86",
    "8.9": "SM89",
    "12.0": "SM120",
    "12.1": "SM121",
}
"""Compute capabilities that the compiler knows, and its names for them. It offers none for data centre GPUs of 9.0."""
AUDITED = ("8.0", "8.6", "8.9", "12.0")
"""Those that an audit compiles for: one of each generation of GPUs that has INT8 and FP16 tensor cores."""
BUILT_FOR = ("8.6", "8.9", "12.0")
"""Those that engines are built for where nobody asks for others: GeForce and RTX cards since 2020."""
_MODULES = ("tensorrt_rtx_bindings", "tensorrt_rtx_libs")


def missing_builder() -> str | None:
    """Why nothing can be compiled here and what to do, as the end of a sentence; None when it can. Imports nothing."""
    if all(importlib.util.find_spec(name) is not None for name in _MODULES):
        return None
    return "needs the compiler of TensorRT-RTX; install it with `pip install 'mezzotint[tensorrt-rtx]'`"


def builder_version() -> str:
    """Such as "1.7.1.116"; MezzotintError where the compiler is not installed."""
    return str(rtx_library().__version__)


def check_capabilities(capabilities: Sequence[str]) -> None:
    """MezzotintError for a compute capability that the compiler does not know, or for none at all."""
    unknown = [one for one in capabilities if one not in CAPABILITIES]
    if unknown or not capabilities:
        raise MezzotintError(what="compute capability", got=", ".join(unknown), expected=tuple(CAPABILITIES))


def capabilities_of(text: str) -> tuple[str, ...]:
    """ "8.9, 12.0" as the compute capabilities that it names, each once; MezzotintError for one that is none."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    check_capabilities(found)
    return found


def rtx_library() -> Any:
    """The bindings, imported; MezzotintError where they are not installed."""
    missing = missing_builder()
    if missing is not None:
        raise MezzotintError(f"the tensorrt target {missing}")
    import tensorrt_rtx_libs  # noqa: F401, I001 -- brings the library into the process that the bindings look for
    import tensorrt_rtx_bindings

    return tensorrt_rtx_bindings


def said_by(library: Any) -> tuple[Any, Any]:
    """A logger and a runtime that speaks to it, which must not outlive it."""
    logger = new_logger(library)
    return logger, library.Runtime(logger)


def new_logger(library: Any) -> Any:
    """One that keeps what is said, and knows the last fault."""

    class Logger(library.ILogger):  # type: ignore[misc]
        """Keeps what is said, in order: (severity, text)."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.said: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            self.said.append((severity.name, text))

        def fault(self) -> str:
            """The last error's text."""
            return next((text for name, text in reversed(self.said) if "ERROR" in name), "it does not say why")

    return Logger()
