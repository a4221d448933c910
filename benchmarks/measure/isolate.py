"""Runs one task in a process of its own, so that no case inherits another's memory, threads, caches or crash."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import mezzotint
from mezzotint.atomic_file import write_text
from mezzotint.progress import Progress, silent

from .task import Task
from .worker import PROGRESS

WORKER = ("-m", "mezzotint.benchmarks.measure.worker")
"""What the interpreter of the case's environment runs."""
_PACKAGE_ROOT = Path(mezzotint.__file__).absolute().parents[1]  # the checkout, or site-packages
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def run_isolated(
    task: Task, folder: Path, progress: Progress = silent, command: Sequence[str] | None = None
) -> str | None:
    """Do `task`; its result appears in `folder` under `task.result_name`. None when done, else why not, in one line.

    Standard error stays in `folder` as NAME.log when the worker failed. `progress` hears (task, part, parts).
    """
    spec, result, log = folder / f"{task.name}.spec.json", folder / task.result_name, folder / f"{task.name}.log"
    write_text(spec, task.to_json())
    with log.open("w", encoding="utf-8") as errors:
        worker = command or (task.case.python or sys.executable, *WORKER)
        arguments = [*worker, str(spec), str(result), str(time.monotonic_ns())]
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=worker_environment()
        )
        try:
            if process.stdout is not None:
                _relay(process.stdout, progress)
            code = process.wait()
        finally:
            process.kill()  # whatever interrupted us, no worker outlives its task
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    if code == 0 and result.is_file():
        log.unlink()
        return None
    return _reason(code, log)


def _relay(lines: IO[str], progress: Progress) -> None:
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[0] == PROGRESS:
            progress("image", int(words[1]), int(words[2]))


def _reason(code: int, log: Path) -> str:
    if code < 0:
        hint = "; the machine may be out of memory" if code == -9 else ""
        return f"the process was ended by signal {-code}{hint}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1].strip() if lines else "without saying why"
    return _without_local_paths(said) if lines else f"the process ended with code {code} {said}"


def _without_local_paths(text: str) -> str:
    """Results are published: where this machine keeps its files is nobody's business."""
    for folder, name in ((Path.cwd(), ""), (Path(sys.prefix), "python/"), (Path.home(), "~/")):
        text = text.replace(f"{folder}/", name)
    return text


def worker_environment() -> Mapping[str, str]:
    """This environment, without the network, and with this very package first on the path, checkout or installed."""
    known = os.environ.get("PYTHONPATH")
    root = str(_PACKAGE_ROOT)
    return os.environ | _OFFLINE | {"PYTHONPATH": os.pathsep.join([root, known] if known else [root])}
