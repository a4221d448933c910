"""The stages of `make gpu`: each once, in order, resumed where one failed, and none without a GPU."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo import gpu
from demo.gpu import STAGES, main
from mezzotint.engines import nvidia
from mezzotint.errors import MezzotintError


class Commands:
    """Stands in for `subprocess.run`: notes what is run, and fails or takes too long where it is told."""

    def __init__(self) -> None:
        self.run: list[str] = []
        self.failing: str | None = None
        self.slow: str | None = None

    def __call__(self, command: list[str], *, timeout: float, **_: object) -> Any:
        assert command[0] == sys.executable
        text = shlex.join(command[1:])
        self.run.append(text)
        if self.slow is not None and self.slow in text:
            raise subprocess.TimeoutExpired(command, timeout)
        if " benchmark " in text:
            output = Path(command[command.index("-o") + 1])
            output.mkdir(parents=True)
            (output / "results.json").write_text("{}")
        return subprocess.CompletedProcess(command, 1 if self.failing is not None and self.failing in text else 0)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """On a machine with a GPU, in an empty folder."""
    found = Commands()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("demo.gpu.subprocess.run", found)
    monkeypatch.setattr(gpu, "_check_gpu", lambda: None)
    return found


def test_all_is_done_once_and_the_figures_are_kept(commands: Commands) -> None:
    main()
    assert len(commands.run) == len(STAGES)
    assert sorted(path.name for path in Path("docs/results").iterdir()) == [
        "gpu-demo.json",
        "gpu-sd15.json",
        "gpu-sdxl.json",
    ]
    main()
    assert len(commands.run) == len(STAGES)
    main(["doctor"])
    assert commands.run[-1] == "-m mezzotint doctor"


def test_a_stage_that_failed_ends_the_run_and_is_taken_again(commands: Commands) -> None:
    commands.failing = "--recipe fp8"
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    before = len(commands.run)
    commands.failing = None
    main()
    assert commands.run[before] == commands.run[before - 1]
    assert len(commands.run) == len(STAGES) + 1


def test_a_stage_that_takes_too_long_is_ended(commands: Commands) -> None:
    commands.slow = "pytest"
    with pytest.raises(MezzotintError, match="tests was ended after 10 minutes; run `make gpu` again"):
        main()
    assert not Path("reports/gpu/done/tests").exists()


def test_an_unknown_stage_lists_those_that_there_are(commands: Commands) -> None:
    with pytest.raises(MezzotintError) as caught:
        main(["doctor", "dance"])
    assert caught.value.got == "dance"
    assert commands.run == []


def test_without_a_gpu_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: False)
    with pytest.raises(MezzotintError, match=r"no GPU can be used here: cuda needs .*; tensorrt needs"):
        main()
    assert list(tmp_path.iterdir()) == []


def test_commands_are_ones_that_there_are() -> None:
    """Every `mezzotint` command's options, against the command line itself."""
    from mezzotint.cli.commands import load

    for stage in STAGES:
        if stage.arguments[:2] == ("-m", "mezzotint"):
            name, *arguments = stage.arguments[2:]
            load(name).make_context(name, list(arguments), resilient_parsing=False)
