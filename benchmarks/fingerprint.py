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

__all__ = ["fingerprint_case"]

_MEASURING = ("baseline.py", "bundle_subject.py", "measure.py", "record.py", "worker.py")


def fingerprint_case(case: Case, machine: Machine) -> str:
    """SHA-256 in hex."""
    runtime, here = Path(mezzotint.runtime.__file__).parent, Path(__file__).parent
    code = (content_sha256(runtime, sorted(runtime.glob("*.py"))), content_sha256(here, map(here.joinpath, _MEASURING)))
    facts = {
        "files": content_sha256(Path(case.source), case_files(case)),
        "code": code,
        "cpu": [machine["cpu_model"], machine["cores"], machine["ram_bytes"]],
        "versions": machine["versions"],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
