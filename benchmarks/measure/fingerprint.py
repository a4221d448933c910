"""What a measurement depends on, as one hash: the case's files, the code that runs them, engines and machine.

A result on disk is taken again only while all of these stay as they were.
"""

import hashlib
import json
from pathlib import Path

import mezzotint

from ..cases.case import Case
from ..cases.subjects import module_of
from ..machine.machine import Machine
from .code_closure import code_files
from .isolate import WORKER
from .storage import case_files, content_sha256

_PACKAGE = Path(mezzotint.__file__).parent


def fingerprint_case(case: Case, machine: Machine, package: Path = _PACKAGE) -> str:
    """SHA-256 in hex; `package` is the folder of the code."""
    facts = {
        "files": content_sha256(Path(case.source), case_files(case)),
        "code": content_sha256(package, measuring_code(case, package)),
        "cpu": [machine["cpu_model"], machine["cores"], machine["ram_bytes"]],
        "versions": machine["versions"],
        "settings": machine["settings"],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def measuring_code(case: Case, package: Path = _PACKAGE) -> tuple[Path, ...]:
    """The files of the worker that measures, and of what loads and runs this kind of case."""
    return code_files(package, [WORKER[-1], module_of(case.kind)])
