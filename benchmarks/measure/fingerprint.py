"""What a measurement depends on, as one hash: the case's files, the code that runs them, engines and machine.

A result on disk is taken again only while all of these stay as they were.
"""

import hashlib
import json
from pathlib import Path

import mezzotint

from ..cases.case import Case
from .machine import Machine
from .storage import case_files, content_sha256

__all__ = ["fingerprint_case"]


def fingerprint_case(case: Case, machine: Machine) -> str:
    """SHA-256 in hex."""
    facts = {
        "files": content_sha256(Path(case.source), case_files(case)),
        "code": _code_sha256(),
        "cpu": [machine["cpu_model"], machine["cores"], machine["ram_bytes"]],
        "versions": machine["versions"],
        "settings": machine["settings"],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code_sha256() -> list[str]:
    """All code of ours, whatever the case runs of it: a list kept by hand would forget a file one day."""
    package = Path(mezzotint.__file__).parent
    folders = [package, *(path.resolve() for path in sorted(package.iterdir()) if path.is_symlink())]
    return [content_sha256(folder, sorted(folder.rglob("*.py"))) for folder in folders]
