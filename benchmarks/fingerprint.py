"""What a measurement depends on, as one hash: the case's files, the code that runs them, engines and machine.

A result on disk is taken again only while all of these stay as they were.
"""

import hashlib
import json
from pathlib import Path

import mezzotint.runtime

from .case import Case
from .machine import Machine
from .storage import case_files, content_sha256
from .subjects import KINDS

__all__ = ["fingerprint_case"]

_MEASURING = ("case.py", "contention.py", "installed.py", "measure.py", "memory.py", "record.py", "worker.py")


def fingerprint_case(case: Case, machine: Machine) -> str:
    """SHA-256 in hex."""
    facts = {
        "files": content_sha256(Path(case.source), case_files(case)),
        "code": _code_sha256(case),
        "cpu": [machine["cpu_model"], machine["cores"], machine["ram_bytes"]],
        "versions": machine["versions"],
        "settings": machine["settings"],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code_sha256(case: Case) -> list[str]:
    """The code that measures, the file that loads this kind of case, and for a bundle the runtime: it is what runs."""
    here, runtime = Path(__file__).parent, Path(mezzotint.runtime.__file__).parent
    measuring = [here / name for name in (*_MEASURING, f"{dict(KINDS)[case.kind].lstrip('.')}.py")]
    measuring += [here / "baseline.py"] if case.kind == "optimum" else []
    measured = sorted(runtime.glob("*.py")) if case.kind == "bundle" else []
    return [content_sha256(here, measuring), content_sha256(runtime, measured)]
