"""What a frugal session gives back: measured in a process of its own, which nothing else blurs."""

import subprocess
import sys
from pathlib import Path

ROWS = 200_000  # of 64 floats: 51 MB a tensor, and the graph makes two that are not the answer

PROGRAM = """
import re, sys
from pathlib import Path
import numpy as np
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnx_bytes import Node, graph_bytes
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session

def resident_bytes():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]) * 1024

path, rows, frugal = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "frugal"
x, y = TensorSpec("x", "float32", (rows, 64)), TensorSpec("y", "float32", (rows, 1))
weights = {"first": np.ones((64, 64), np.float32), "second": np.ones((64, 64), np.float32),
           "last": np.ones((64, 1), np.float32)}
nodes = [Node("MatMul", ("x", "first"), "a"), Node("Exp", ("a",), "b"), Node("MatMul", ("b", "second"), "c"),
         Node("MatMul", ("c", "last"), "y")]
path.write_bytes(graph_bytes(nodes, weights, (x,), (y,)))
component = Component(files=(), storage=Storage.FLOAT32, compute=Compute.F32, inputs=(x,), outputs=(y,))
session = Session.open("chain", path, component, ONNXRUNTIME, EngineOptions(Compute.F32, threads=1, frugal=frugal))
feeds = {"x": np.zeros((rows, 64), np.float32)}
before = resident_bytes()
session.run(feeds)
print(resident_bytes() - before)
"""


def kept_bytes(path: Path, kind: str) -> int:
    command = [sys.executable, "-c", PROGRAM, str(path), str(ROWS), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return int(done.stdout)


def test_a_frugal_session_keeps_nothing_that_a_call_needed(tmp_path: Path) -> None:
    tensor = ROWS * 64 * 4
    assert kept_bytes(tmp_path / "chain.onnx", "frugal") < tensor / 4
    assert kept_bytes(tmp_path / "chain.onnx", "plain") > tensor
