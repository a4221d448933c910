"""How often a key may ask: a bucket of tokens for each, which fills evenly (a token bucket)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Buckets:
    """`per_minute` requests of each key, at once or spread."""

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)  # tokens, and when they were counted

    def take(self, owner: str) -> float:
        """Take a token; the seconds until there is one where there is none, else 0."""
        now_s = self.clock()
        tokens, counted_s = self._left.get(owner, (float(self.per_minute), now_s))
        tokens = min(float(self.per_minute), tokens + (now_s - counted_s) * self.per_minute / 60.0)
        if tokens < 1.0:
            return (1.0 - tokens) * 60.0 / self.per_minute
        self._left[owner] = (tokens - 1.0, now_s)
        return 0.0
