"""What runs in a worker's process. It imports the engine's side late: the front imports this file, and no engine."""

import os
import signal
from multiprocessing.connection import Connection

from .engine_options import EngineChoice


def live(pipe: Connection, bundle: str, engine: EngineChoice, profile: str | None) -> None:
    """Load the bundle at `bundle`, or the named profile of it, and make what comes over the pipe.

    The front decides when it ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the front ends the workers
    from .bundle_maker import BundleMaker
    from .loop import work
    from .resident import resident_bytes

    work(BundleMaker(bundle, engine, profile), pipe.recv, pipe.send, resident_bytes)
    os._exit(0)  # engines' threads take their time to end, and nothing is left to write
