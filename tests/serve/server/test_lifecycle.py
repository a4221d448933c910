"""The life of a server as a process: its end by a signal, by its idle clock, and its start from an inherited socket."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mezzotint.cli.serve import serve
from mezzotint.errors import MezzotintError
from mezzotint.serve.config.service import IdleTimes
from mezzotint.serve.jobs.limits import QueueLimits
from tests.serve.fakes import FakeMaker
from tests.serve.live import WAIT_S, Live, events, live, wait_until

ROOT = Path(__file__).parents[3]


INHERIT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@contextmanager
def started(bundles: Path, *options: str, inherits: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """`mezzotint serve` as users start it; it `inherits` a listening socket as systemd hands one over."""
    arguments = ["-m", "mezzotint", "serve", str(bundles), "--backend", "onnxruntime", *options]
    fds = () if inherits is None else (inherits,)
    before = [] if inherits is None else ["-c", INHERIT, str(inherits)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, *before, *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, pass_fds=fds)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def address(process: subprocess.Popen[str]) -> str:
    """Where it says that it listens."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert " at http://" in line, line + process.stderr.read()
    return line.rpartition(" at ")[2].strip()


def test_a_signal_ends_streams_and_the_server(bundles: Path) -> None:
    with started(bundles, "--port", "0", "--grace", "5") as process:
        url = address(process)
        with httpx2.Client(base_url=url, timeout=WAIT_S) as client, client.stream("GET", "/api/v1/events") as stream:
            told = events(stream.iter_lines())
            process.send_signal(signal.SIGTERM)
            assert next(told)[0] == "shutdown"
            assert list(told) == []
        process.wait(WAIT_S)
        assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_says_what_is_waited_for(bundles: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs a Unix terminal")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mezzotint", "serve", str(bundles), "--port", "0", "--grace", "7"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=theirs, text=True)
    os.close(theirs)
    try:
        with os.fdopen(ours, encoding="utf-8") as terminal:
            url = terminal.readline().rpartition(" at ")[2].strip()
            with httpx2.Client(base_url=url, timeout=WAIT_S) as client:
                assert client.get("/healthz").status_code == 200
            process.send_signal(signal.SIGINT)
            assert "stopping; running jobs have 7 s" in terminal.readline()
        process.wait(WAIT_S)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_it_ends_by_itself_after_its_work(bundles: Path) -> None:
    with started(bundles, "--port", "0", "--exit-after", "5") as process:
        url = address(process)
        with httpx2.Client(base_url=url, timeout=WAIT_S) as client:
            client.post("/api/v1/jobs", json={"prompt": "a", "steps": 1})
        process.wait(WAIT_S)
        assert process.returncode == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr]
        assert [line["event"] for line in lines if line["event"] != "request"] == ["job", "idle", "stopping"]
        assert all("prompt" not in line for line in lines)


@pytest.mark.slow
def test_it_starts_on_a_socket_that_somebody_else_listens_at(bundles: Path) -> None:
    """As systemd's socket activation: descriptor 3, LISTEN_FDS, and LISTEN_PID of the process itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        answers: list[int] = []
        with socket.create_connection(("127.0.0.1", port)) as early:  # who came before it was started waits for it
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with started(bundles, inherits=listener.fileno()) as process:
                assert address(process) == f"http://127.0.0.1:{port}"
                early.settimeout(WAIT_S)
                answers.append(int(early.recv(4096).split()[1]))
        assert answers == [200]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "0.0.0.0"}, "--keys"),
        ({"default_model": "none"}, "the model is 'none'"),
        ({"preload": ["none"]}, "the model is 'none'"),
        ({"keys": "none.txt"}, "none.txt"),
        ({"config": Path("none.json")}, "none.json"),
        ({"port": 70000}, "port"),
        ({"host": "192.0.2.1", "no_auth": True}, "--port"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    bundles: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(MezzotintError, match=said):
        serve([str(bundles)], **options)


def test_an_unused_model_is_unloaded_and_loaded_again(bundles: Path) -> None:
    makers: list[FakeMaker] = []

    def make() -> FakeMaker:
        makers.append(FakeMaker())
        return makers[-1]

    with live(bundles, make, idle=IdleTimes(unload_s=0.1)) as server:
        server.done(server.job()["id"])
        wait_until(lambda: list(server.built.studio.slots), lambda slots: slots == [])
        for path in ("/sdapi/v1/progress", "/healthz", "/sdapi/v1/options", "/api/v1/capabilities"):
            server.client.get(path)
        assert list(server.built.studio.slots) == []
        server.done(server.job()["id"])
    assert len(makers) == 2


def test_only_work_resets_the_idle_clock(fake: Live) -> None:
    studio = fake.built.studio
    fake.done(fake.job()["id"])
    before = fake.in_loop(lambda: studio.worked_s)
    for path in ("/sdapi/v1/progress", "/sdapi/v1/sd-models", "/metrics", "/readyz", "/api/v1/jobs"):
        assert fake.client.get(path).status_code == 200
    assert fake.in_loop(lambda: studio.worked_s) == before
    fake.client.post("/api/v1/models/tiny/load")
    assert fake.in_loop(lambda: studio.worked_s) > before


def test_a_job_that_takes_too_long_is_cancelled_and_a_worker_that_hangs_is_killed(bundles: Path) -> None:
    class Hanging(FakeMaker):
        def make(self, order: object, listener: object) -> object:  # type: ignore[override]
            self.go.wait(WAIT_S)
            return super().make(order, listener)  # type: ignore[arg-type]

    makers = [Hanging(), FakeMaker()]
    limits = QueueLimits(job_s=1.0, hang_s=0.1)
    with live(bundles, lambda: makers.pop(0), queue=limits) as server:
        hanging = makers[0]
        view = server.until(server.job()["id"], "failed", "done")
        assert (view["status"], view["code"]) == ("failed", "late")
        server.done(server.job()["id"])
        hanging.go.set()


def test_a_running_job_may_finish_when_the_server_stops(bundles: Path, tmp_path: Path) -> None:
    slow = FakeMaker(step_s=0.02)
    with live(bundles, lambda: slow, grace_s=WAIT_S, keep=str(tmp_path / "kept")) as server:
        running = server.job(steps=20)["id"]
        server.until(running, "generating")
        waiting = server.job()["id"]
    assert [order.settings[0].steps for order in slow.made] == [20]
    (line,) = (tmp_path / "kept" / "jobs.jsonl").read_text().splitlines()
    assert (json.loads(line)["id"], json.loads(line)["files"]) == (running, [f"{running}-0.png"])
    assert (tmp_path / "kept" / f"{running}-0.png").read_bytes()[:4] == b"\x89PNG"
    assert waiting not in line
