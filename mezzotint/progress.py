"""How long work says where it is, without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as (what is being done, parts done, parts in all)."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Say nothing."""
