"""The process whose start is measured: `python -m mezzotint.benchmarks.measure.startup_worker REQUEST STARTED_NS`.

REQUEST is JSON with the keyword arguments "load" and "call"; STARTED_NS the monotonic clock when the parent asked for
this process. Standard output is one `StartTimes` as JSON. Nothing but the standard library is imported before the clock
of the import runs.
"""

import json
import sys
import time
import warnings
from typing import Any, TypedDict

ENGINE_PACKAGES = ("onnxruntime", "openvino", "tensorrt", "torch")
"""What `import mezzotint.runtime` must not bring along."""


class StartTimes(TypedDict):
    """Milliseconds of one start, in its order; `first_ms` is from asking for the process to the finished first image.

    `later_ms` is a second image with the same settings, and `outside_graphs_ms` that part of it which no graph ran.
    `peak_rss_bytes` is VmHWM after the first image, `later_peak_rss_bytes` after the second.
    """

    import_ms: float
    load_ms: float
    image_ms: float
    first_ms: float
    later_ms: float
    outside_graphs_ms: float
    peak_rss_bytes: int | None
    later_peak_rss_bytes: int | None
    imported_engines: list[str]
    backend: str
    why: str


def main(arguments: list[str]) -> int:
    """Import, load, generate twice; always 0, for what goes wrong is an exception that the parent reads."""
    request, started_ns = json.loads(arguments[0]), int(arguments[1])
    warnings.simplefilter("ignore")  # a size outside the calibration is no news here
    sys.stdout.write(json.dumps(measure_start(request, started_ns)) + "\n")
    return 0


def measure_start(request: dict[str, Any], started_ns: int) -> StartTimes:
    """The figures of this very process; only the first call in a process tells what importing costs."""
    begun = time.perf_counter()
    from mezzotint.runtime import TextToImage

    imported = time.perf_counter()
    engines = [name for name in ENGINE_PACKAGES if name in sys.modules]
    pipe = TextToImage.load(**request["load"])
    loaded = time.perf_counter()
    pipe(**request["call"])
    generated, first_ms = time.perf_counter(), (time.monotonic_ns() - started_ns) / 1e6

    from .memory import read_memory

    peak = read_memory().peak_rss_bytes
    again = time.perf_counter()
    timings = pipe(**request["call"]).timings
    later_ms = (time.perf_counter() - again) * 1e3
    graphs_ms = timings.text_encoder_ms + sum(timings.unet_step_ms) + timings.vae_decoder_ms
    return {
        "import_ms": (imported - begun) * 1e3,
        "load_ms": (loaded - imported) * 1e3,
        "image_ms": (generated - loaded) * 1e3,
        "first_ms": first_ms,
        "later_ms": later_ms,
        "outside_graphs_ms": later_ms - graphs_ms,
        "peak_rss_bytes": peak,
        "later_peak_rss_bytes": read_memory().peak_rss_bytes,
        "imported_engines": engines,
        "backend": pipe.backend,
        "why": pipe.choice.reason,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
