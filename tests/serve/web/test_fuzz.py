"""A fuzzer reads the OpenAPI document and asks every operation for what it says, and for what it does not say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mezzotint.serve.jobs.limits import QueueLimits
from tests.serve.fakes import FakeMaker
from tests.serve.live import live

OPTIONS = ("--checks", "not_a_server_error", "--phases", "coverage,fuzzing", "--max-examples", "40", "--seed", "1")
WITHOUT_END = ("--exclude-path-regex", "events$")  # streams


@pytest.mark.slow
def test_nothing_that_a_fuzzer_sends_is_a_fault_of_the_server(bundles: Path, tmp_path: Path) -> None:
    program = shutil.which("st")
    if program is None:
        pytest.skip("no schemathesis; `pip install schemathesis` brings it")
    with live(bundles, FakeMaker, queue=QueueLimits(pending=10_000)) as server:
        command = [program, "run", f"{server.url}/openapi.json", *OPTIONS, *WITHOUT_END, "--request-timeout", "20"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:]
        server.done(server.job()["id"])
