"""A worker in a process of its own: real images, and a crash that costs one job."""

import errno
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.runtime import Bundle, TextToImage
from mezzotint.serve.work.process import ProcessWorker
from tests.serve.live import ENGINE, Live, live, wait_until


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[Live]:
    with live(bundles, start_worker=lambda bundle, profile: ProcessWorker(bundle, ENGINE, profile)) as server:
        yield server


def worker_pid(server: Live) -> int:
    pids = wait_until(lambda: [slot.worker.pid for slot in server.built.studio.slots if slot.is_loaded], bool)
    return int(pids[0])


def test_its_images_are_the_runtimes_own(server: Live, tiny_bundle: Bundle) -> None:
    job = server.job(prompt="a red apple", steps=3, seed=5)["id"]
    server.done(job)
    expected = TextToImage.load(tiny_bundle.path, backend="onnxruntime", threads=1)("a red apple", steps=3, seed=5)
    found = np.asarray(Image.open(io.BytesIO(server.image(job))))
    np.testing.assert_array_equal(found, np.asarray(expected.images[0]))
    assert worker_pid(server) != os.getpid()


def test_a_crash_fails_its_job_with_a_reason_and_the_next_one_works(server: Live) -> None:
    job = server.job(steps=150, count=16)["id"]
    server.until(job, "generating")
    wait_until(lambda: server.view(job)["progress"]["step"], bool)
    os.kill(worker_pid(server), signal.SIGKILL)
    view = server.until(job, "failed", "done")
    assert (view["status"], view["code"]) == ("failed", "crashed")
    assert "SIGKILL" in view["reason"]
    server.done(server.job(steps=1)["id"])


def test_a_running_job_is_cancelled(server: Live) -> None:
    job = server.job(steps=150, count=16)["id"]
    wait_until(lambda: server.view(job)["progress"]["step"], bool)
    server.client.delete(f"/api/v1/jobs/{job}")
    assert server.until(job, "cancelled", "done")["status"] == "cancelled"


def test_a_process_that_cannot_be_started_fails_its_job_and_the_next_may_work(
    bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_process: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    with live(bundles, start_worker=lambda bundle, profile: ProcessWorker(bundle, ENGINE, profile)) as server:
        with monkeypatch.context() as patch:
            patch.setattr("multiprocessing.context.SpawnProcess.start", full)
            view = server.until(server.job(steps=1)["id"], "failed", "done")
            assert (view["status"], view["code"], "temporarily unavailable" in view["reason"]) == (
                "failed",
                "load",
                True,
            )
            wait_until(lambda: list(server.built.studio.slots), lambda slots: slots == [])
        server.done(server.job(steps=1)["id"])


def test_the_front_imports_no_engine() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import mezzotint.serve.server.build, mezzotint.cli.serve; "
        "print([name for name in ('onnxruntime', 'openvino', 'torch', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
