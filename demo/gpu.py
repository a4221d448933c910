"""`make gpu`: everything that a machine with an NVIDIA GPU can tell, in stages of minutes, each taken once.

A machine may be lent for a quarter of an hour. A stage that is done is noted in reports/gpu/done and passed over the
next time; one that fails, or that this GPU or what is installed cannot do, is named, and the others go on. Nothing is
fetched from a network. `--prepare` does what needs no GPU, on any machine, so that a loan is spent on the rest, and
with `--minutes 14` nothing outlasts that. What is measured ends in docs/results, even where a row of it failed.
"""

import argparse
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT
from mezzotint.errors import CheckFailed, MezzotintError

from .command_group import run_group
from .gpu_machine import Machine, machine_with_gpu
from .gpu_stages import CAPABILITIES, REPORTS, STAGES, Stage

RESULTS = Path("docs/results")
_LIMIT_SECONDS = 600.0
_LEAST_SECONDS = 20.0  # in less than that no stage is worth beginning
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
_TABLES = ("-m", "mezzotint", "dev", "publish", "README.md", str(RESULTS), "--page", "docs/gpu.md")


def main(names: Sequence[str] = (), *, prepare: bool = False, minutes: float | None = None) -> None:
    """Do the stages called `names`, or all that are not done, then the tables of what was measured.

    MezzotintError where no engine can use a GPU, and for a stage that there is not; CheckFailed names what failed.
    """
    known = [stage.name for stage in STAGES]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MezzotintError(what="stage", got=", ".join(unknown), expected=known)
    machine = Machine() if prepare else machine_with_gpu()
    end = None if minutes is None else _now() + 60.0 * minutes
    (REPORTS / "done").mkdir(parents=True, exist_ok=True)
    asked = [stage for stage in STAGES if stage.name in names or (not names and not _mark(stage).exists())]
    failed = [stage.name for stage in asked if not _take(stage, machine, end)]
    if not prepare and any(RESULTS.glob("gpu-*.json")):
        code = run_group([sys.executable, *_TABLES], _LIMIT_SECONDS, os.environ)
        failed += [] if code == 0 else ["the pages' tables"]
    if failed:
        raise CheckFailed(what=f"not done: {', '.join(failed)}", advice="see above, then run `make gpu` again")


def _take(stage: Stage, machine: Machine, end: float | None) -> bool:
    """Do a stage and note it; false where it was begun and failed. One that cannot be done is passed over by name."""
    reason = machine.why_not(stage) or _what_lacks(stage, machine)
    limits = [*([] if machine.capability is None else [_LIMIT_SECONDS]), *([] if end is None else [end - _now()])]
    seconds = min(limits, default=None)  # where nothing is lent, a stage may take an hour
    if reason is None and seconds is not None and seconds < _LEAST_SECONDS:
        reason = "the time is over"
    if reason is not None:
        STDOUT.print(f"{stage.name}: passed over, {reason}", markup=False)
        return True
    is_done = _run(stage, _arguments(stage, machine), seconds)
    if is_done:
        _mark(stage).touch()
    return is_done


def _what_lacks(stage: Stage, machine: Machine) -> str | None:
    """What should have been done before a stage and was not."""
    lacking = [need for need in stage.needs if not (REPORTS / "done" / need).exists()]
    if lacking:
        return f"{lacking[0]} is not done"
    return "there is no bundle that it could measure" if stage.bundles and not _bundles(stage, machine) else None


def _bundles(stage: Stage, machine: Machine) -> list[str]:
    """Those that are there and that an engine here can run."""
    return [
        bundle for target, bundle in stage.bundles if Path(bundle).is_dir() and machine.why_no_engine(target) is None
    ]


def _arguments(stage: Stage, machine: Machine) -> list[str]:
    given = [machine.capabilities(stage) if one == CAPABILITIES else one for one in stage.arguments]
    peers = ["--peers", stage.peers] if stage.peers and Path(stage.peers).is_dir() else []
    return [*given, *_bundles(stage, machine), *peers]


def _run(stage: Stage, arguments: Sequence[str], seconds: float | None) -> bool:
    """Whether the command ended well in time; what it measured is kept in either case."""
    STDOUT.print(f"$ python {shlex.join(arguments)}", markup=False)
    started = _now()
    before = {source: _written(source) for source, _ in stage.kept}
    code = run_group([sys.executable, *arguments], seconds, os.environ | _OFFLINE)
    said = "out of time, and ended" if code is None else f"exit code {code}"
    STDOUT.print(f"{stage.name}: {_now() - started:.0f} s, {said}", markup=False)
    for source, name in stage.kept:
        if _written(source) not in (None, before[source]):
            RESULTS.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, RESULTS / name)
    return code == 0


def _written(path: str) -> int | None:
    """When, in nanoseconds; None where it is not there."""
    return Path(path).stat().st_mtime_ns if Path(path).is_file() else None


def _now() -> float:
    return time.monotonic()


def _mark(stage: Stage) -> Path:
    return REPORTS / "done" / stage.name


def _minutes(text: str) -> float:
    """A length of time, as argparse wants it read."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0.0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of minutes above 0")
    return minutes


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; it ends the program where that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m demo.gpu")
    parser.add_argument("names", nargs="*", metavar="STAGE", help="stages to do again; default: all that are not done")
    parser.add_argument("--prepare", action="store_true", help="what needs no GPU, on any machine")
    parser.add_argument("--minutes", type=_minutes, help="how long the machine is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_with_a_sentence():
        asked = parsed(sys.argv[1:])
        main(asked.names, prepare=asked.prepare, minutes=asked.minutes)
