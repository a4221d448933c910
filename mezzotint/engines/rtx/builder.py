"""Engines of TensorRT-RTX: an ONNX graph at fixed shapes to an engine, on a machine that needs no GPU.

docs.nvidia.com/deeplearning/tensorrt-rtx, "CPU-Only AOT and TensorRT-RTX Engines". Networks are strongly typed: a graph
is compiled in the types that it is written in, or refused. Timing caches ask for a GPU, so there are none.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from mezzotint.errors import CheckFailed, MezzotintError

from .compiler import Answer, Request
from .library import builder_version, check_capabilities
from .record import EngineLayer, parse_layers

_COMPILER = ("-P", "-m", "mezzotint.engines.rtx.compiler")  # -P: what lies in the working folder is not imported


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine and what the compiler said of it.

    `macs` has the multiplications of every ONNX node that multiplies, by name; `warnings` the texts of warnings, with
    how often each came.
    """

    plan: memoryview
    layers: tuple[EngineLayer, ...]
    macs: Mapping[str, int]
    warnings: Mapping[str, int]
    seconds: float


def build_engine(path: Path, shapes: Mapping[str, Sequence[int]], capabilities: Sequence[str]) -> Built:
    """Compile the graph at `path` for inputs of exactly `shapes`, one engine for all of `capabilities`.

    It is done in a process of its own, which is ended with whatever interrupts the caller. Raises MezzotintError where
    the compiler is not installed, a capability unknown or a shape none, CheckFailed naming the node where the graph is
    refused.
    """
    check_capabilities(capabilities)
    for name, shape in shapes.items():
        if any(dim < 1 for dim in shape):
            raise MezzotintError(what=f"the shape of {name}", where=path, got=tuple(shape), expected="sizes from 1")
    version, started = builder_version(), time.perf_counter()
    request = Request(path=str(path), shapes=dict(shapes), capabilities=tuple(capabilities))
    with tempfile.TemporaryFile() as errors:
        answer, plan, code = _ask(request, errors)
        if answer is None:
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            raise CheckFailed(f"the compiler of TensorRT-RTX {version} did not get through {path}: {_end(code, said)}")
    if answer.refusal is not None:
        raise CheckFailed(answer.refusal)
    return Built(
        plan=memoryview(plan),
        layers=parse_layers(answer.record),
        macs=answer.macs,
        warnings=answer.warnings,
        seconds=time.perf_counter() - started,
    )


def _ask(request: Request, errors: IO[bytes]) -> tuple[Answer | None, bytearray, int]:
    """The compiler's answer and the engine; or None, nothing, and how its process ended."""
    command = [sys.executable, *_COMPILER]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, env=environment) as process:
        assert process.stdin is not None
        assert isinstance(process.stdout, BufferedReader)
        try:
            process.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            answer = Answer(**json.loads(line)) if line.endswith(b"\n") else None
            plan = bytearray(0 if answer is None else answer.size)
            answer = answer if _fill(plan, process.stdout) else None
        except BrokenPipeError:
            answer, plan = None, bytearray()
        except BaseException:
            process.kill()
            raise
    return answer, plan, process.returncode


def _fill(plan: bytearray, pipe: BufferedReader) -> bool:
    """Read as much as there is room for; false where less came."""
    view, done = memoryview(plan), 0
    while done < len(view):
        count = pipe.readinto(view[done:])
        if not count:
            return False
        done += count
    return True


def _end(code: int, said: str) -> str:
    """How a process ended that gave no answer."""
    if code == -9:
        return "the system ended it, most likely for want of memory"
    if code < 0:
        return f"it crashed (signal {-code})"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"it ended with code {code}, and said {lines[-1] if lines else 'nothing'}"
