"""A process that writes folders and gets killed. `test_swap_kills.py` starts it; it forks a child for each order.

An order is a line of JSON on standard input; the answers are the child's process id and, later, its exit code.
Forking spares the child the interpreter's start, so that a kill can come at its very first moment.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from mezzotint.atomic_folder import repair, replace_folder

__all__ = ["FILES", "MARKER", "litter", "version_of", "write_version"]

MARKER = "mezzotint.json"
LITTER = ("staging", "ready", "old", "lock")
FILES = ("a/model.onnx", "a/b/deep.json", "tokenizer.txt", MARKER)


def write_version(destination: Path, version: int) -> None:
    """Put a folder at `destination` whose every file repeats `version`."""
    with replace_folder(destination, marker=MARKER, overwrite=True) as staging:
        for name in FILES:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(f"{version}\n" * 400)


def version_of(folder: Path) -> int:
    """The version that every file of a whole folder repeats; an AssertionError for any other folder."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == sorted(FILES)
    texts = {(folder / name).read_text() for name in FILES}
    assert len(texts) == 1, "files of several versions"
    (text,) = texts
    version = int(text.split("\n")[0])
    assert text == f"{version}\n" * 400
    return version


def litter(destination: Path) -> set[str]:
    return {role for role in LITTER if os.path.lexists(destination.with_name(f".{destination.name}.{role}"))}


def write_forever(destination: Path, first_version: int) -> None:
    for version in count(first_version):
        write_version(destination, version)


def hold(destination: Path, _version: int) -> None:
    with replace_folder(destination, marker=MARKER, overwrite=True):
        (destination.parent / "is held").touch()
        time.sleep(600)


ORDERS: dict[str, Callable[[Path, int], None]] = {
    "write": write_version,
    "write forever": write_forever,
    "repair": lambda destination, _version: repair(destination),
    "hold": hold,
}


def die_at(event_number: int) -> None:
    """From here on, end by SIGKILL just before the n-th thing that Python does to a file, a folder or a lock."""
    left = [event_number]

    def hook(event: str, _arguments: tuple[Any, ...]) -> None:
        if event.startswith(("open", "os.", "shutil.", "fcntl.")):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run(order: dict[str, Any]) -> None:
    if order["die_at"]:
        die_at(order["die_at"])
    ORDERS[order["name"]](Path(order["destination"]), order["version"])


def serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(json.loads(line))
                status = 0
            finally:
                os._exit(status)
        print(child, flush=True)  # noqa: T201 -- the answer
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 -- the answer


if __name__ == "__main__":
    serve()
