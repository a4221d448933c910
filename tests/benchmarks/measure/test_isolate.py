import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.measure.isolate import run_isolated
from mezzotint.benchmarks.measure.task import Task

TASK = Task(
    "timing", Case("int8-openvino", "bundle", "x", "openvino", "int8"), Workload(prompts=("a",)), "f00d", images=1
)


def run(folder: Path, body: str) -> tuple[str | None, list[tuple[int, int]]]:
    """Run a worker made of `body`, which sees spec, result and started_ns; the reason and the progress heard."""
    script = folder / "worker.py"
    script.write_text(f"import os, sys, time\nspec, result, started_ns = sys.argv[1:]\n{body}\n", encoding="utf-8")
    heard: list[tuple[int, int]] = []
    reason = run_isolated(
        TASK, folder, lambda _what, part, parts: heard.append((part, parts)), (sys.executable, str(script))
    )
    return reason, heard


def test_a_worker_that_writes_its_result_is_done(tmp_path: Path) -> None:
    body = "open(result, 'w').write(open(spec).read())\nprint('noise')\nprint('progress 1 2')\nprint('progress 2 2')"
    reason, heard = run(tmp_path, body)
    assert reason is None
    assert heard == [(1, 2), (2, 2)]
    assert Task.read(tmp_path / TASK.result_name) == TASK
    assert not list(tmp_path.glob("*.log"))


def test_the_clock_starts_before_the_process(tmp_path: Path) -> None:
    before = time.monotonic_ns()
    reason, _ = run(tmp_path, "assert int(started_ns) < time.monotonic_ns()\nopen(result, 'w').write(started_ns)")
    assert reason is None
    assert before <= int((tmp_path / TASK.result_name).read_text()) <= time.monotonic_ns()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise SystemExit('the bundle needs amx_int8')", "the bundle needs amx_int8"),
        ("raise ValueError('no such kernel')", "ValueError: no such kernel"),
        ("os.abort()", "ended by signal 6"),
        ("os.kill(os.getpid(), 9)", "ended by signal 9; the machine may be out of memory"),
        ("sys.exit(3)", "ended with code 3 without saying why"),
        ("pass", "ended with code 0 without saying why"),
    ],
)
def test_a_worker_that_fails_is_a_reason_and_no_exception(tmp_path: Path, body: str, expected: str) -> None:
    reason, _ = run(tmp_path, body)
    assert reason is not None
    assert expected in reason
    assert len(list(tmp_path.glob("*.log"))) == 1


def test_reasons_do_not_tell_where_this_machine_keeps_its_files(tmp_path: Path) -> None:
    reason, _ = run(tmp_path, "sys.exit('cannot read ' + os.getcwd() + '/bundles/x and ' + os.path.expanduser('~/y'))")
    assert reason == "cannot read bundles/x and ~/y"


def test_an_interrupted_parent_leaves_no_worker(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "print('progress 1 2', flush=True)\ntime.sleep(60)",
        encoding="utf-8",
    )

    def interrupt(_what: str, _part: int, _parts: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated(TASK, tmp_path, interrupt, (sys.executable, str(script)))
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_worker_dies_with_its_parent(tmp_path: Path) -> None:
    """SIGKILL gives the parent no chance to clean up: the worker has to notice by itself."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, sys, time\nimport mezzotint.benchmarks.measure.worker as worker\n"
        f"def hang(*_): open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)\n"
        "worker.measure = hang\nsys.exit(worker.main(sys.argv[1:]))",
        encoding="utf-8",
    )
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import sys\nfrom pathlib import Path\nfrom mezzotint.benchmarks.measure.isolate import run_isolated\n"
        "from mezzotint.benchmarks.measure.task import Task\n"
        f"run_isolated(Task.read(Path({str(tmp_path / 'task.json')!r})), Path({str(tmp_path)!r}), "
        f"command=(sys.executable, {str(worker)!r}))",
        encoding="utf-8",
    )
    (tmp_path / "task.json").write_text(TASK.to_json(), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, str(parent)], env=environment)
    pid = wait_for_pid(tmp_path / "pid")
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def wait_for_pid(path: Path) -> int:
    """The number in a file that another process is about to write."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.is_file() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise TimeoutError(path)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which only waits to be counted, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
