"""A program that opens every file of a folder, in little memory, and says how each ended and what else it did.

`python -m tests.tensor_files.open_all FOLDER` prints JSON: for each file "read", or the sentence of its refusal; and
the events of Python's audit hooks that are none of opening the file itself.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np

from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.opening import open_tensor_file

MEMORY_BYTES, SECONDS = 3 << 29, 600
WATCHED = ("import", "exec", "compile", "open", "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "pickle.")
READ = "read"


def outcome(path: Path) -> str:
    try:
        with open_tensor_file(path) as file:
            for name, spec in file.specs.items():
                array = file.read(name)
                assert array.shape == spec.shape
                np.ascontiguousarray(array)
    except MezzotintError as error:
        return str(error)
    return READ


def main() -> None:
    paths = sorted(Path(sys.argv[1]).iterdir())
    outcome(paths[0])  # whatever is imported late is now there
    own = {str(path) for path in paths}
    strange: list[str] = []

    def watch(event: str, given: tuple[object, ...]) -> None:
        if event.startswith(WATCHED) and not (event == "open" and str(given[0]) in own and given[1] in ("r", "rb")):
            strange.append(f"{event} {given!r:.200}")

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.addaudithook(watch)
    outcomes = {path.name: outcome(path) for path in paths}
    sys.stdout.write(json.dumps({"outcomes": outcomes, "strange": list(strange)}))


if __name__ == "__main__":
    main()
