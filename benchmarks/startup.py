"""What a program that embeds a bundle waits for its first image, and what memory that takes.

    mezzotint dev startup BUNDLE [--height 512 --width 512] [--low-memory] [--json]

Every row is a fresh process: the first compiles for an empty cache, the others find that cache warm. The user's own
cache is neither read nor written. The page cache is as the machine left it, so the bundle's files may be in memory.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle

from .figures.bootstrap import quantile
from .figures.formats import format_bytes
from .measure.isolate import worker_environment
from .measure.startup_worker import StartTimes

_WORKER = ("-m", "mezzotint.benchmarks.measure.startup_worker")
_PROMPT = "a flat emoji of a red apple on a blue background"
_TIMES = ("import_ms", "load_ms", "image_ms", "first_ms", "later_ms", "outside_graphs_ms")


@dataclass(frozen=True)
class Startup:
    """One start with an empty compile cache, and at least one with the cache that it left."""

    cold: StartTimes
    warm: tuple[StartTimes, ...]

    def warm_median(self, figure: str) -> float:
        """The median of a figure of `StartTimes` over the warm starts."""
        return quantile([cast(dict[str, float], start)[figure] for start in self.warm], 0.5)

    @property
    def warm_peak_rss_bytes(self) -> int | None:
        """The largest VmHWM of a warm start's first image."""
        peaks = [start["peak_rss_bytes"] for start in self.warm]
        return None if None in peaks else max(cast(list[int], peaks))

    @property
    def outside_graphs_share(self) -> float:
        """The part of a later image's time, 0 to 1, in which no graph ran; the median over the warm starts."""
        return quantile([start["outside_graphs_ms"] / start["later_ms"] for start in self.warm], 0.5)


def measure_startup(bundle: Path, load: dict[str, Any], call: dict[str, Any], runs: int) -> Startup:
    """Start `runs` + 1 processes, one after the other. `load` and `call` are keywords of TextToImage.

    Raises MezzotintError with what stopped a process.
    """
    request = {"load": {"path": str(Bundle.open(bundle).path.absolute()), **load}, "call": {"prompt": _PROMPT, **call}}
    with TemporaryDirectory(prefix="mezzotint-startup-") as cache:
        cold, *warm = (_start(request, cache) for _ in range(1 + runs))
    return Startup(cold, tuple(warm))


def _start(request: dict[str, Any], cache: str) -> StartTimes:
    environment = {**worker_environment(), "XDG_CACHE_HOME": cache}
    command = (sys.executable, *_WORKER, json.dumps(request), str(time.monotonic_ns()))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"the measured process ended with code {done.returncode}"])[-1]
        raise MezzotintError(said.partition("MezzotintError: ")[2] or said)
    return cast(StartTimes, json.loads(done.stdout))


def report_lines(startup: Startup) -> list[str]:
    """The figures for a reader."""
    cold, engines = startup.cold, sorted({name for one in startup.warm for name in one["imported_engines"]})
    rows = [("", "cold compile cache", f"warm, median of {len(startup.warm)}")]
    rows += [
        (name.removesuffix("_ms").replace("_", " "), f"{cast(dict[str, float], cold)[name]:,.0f} ms", f"{warm:,.0f} ms")
        for name in _TIMES
        for warm in (startup.warm_median(name),)
    ]
    rows.append(("peak RSS", format_bytes(cold["peak_rss_bytes"]), format_bytes(startup.warm_peak_rss_bytes)))
    return [
        f"{cold['backend']}: {cold['why']}",
        *(f"{name:<16}{before:>20}{after:>20}" for name, before, after in rows),
        f"outside the graphs: {startup.outside_graphs_share:.1%} of a later image",
        f"engines that `import mezzotint.runtime` imports: {', '.join(engines) or 'none'}",
    ]
