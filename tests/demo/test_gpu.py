"""The stages of `make gpu`: each once, in order, resumed where one failed, and passed over where it cannot be done."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo import gpu, gpu_machine
from demo.gpu import main, parsed
from demo.gpu_machine import Machine, machine_with_gpu
from demo.gpu_stages import CAPABILITIES, STAGES
from mezzotint.errors import CheckFailed, MezzotintError

BY_NAME = {stage.name: stage for stage in STAGES}
TABLES = "dev publish"


class Commands:
    """Stands in for `run_group`: notes what is run, leaves what it would, fails or takes too long when told."""

    def __init__(self) -> None:
        self.run: list[str] = []
        self.limits: list[float | None] = []
        self.failing: str | None = None
        self.slow: str | None = None

    def __call__(self, command: list[str], seconds: float | None, environment: Mapping[str, str]) -> int | None:
        assert command[0] == sys.executable
        text = shlex.join(command[1:])
        self.run.append(text)
        self.limits.append(seconds)
        if self.slow is not None and self.slow in text:
            return None
        assert TABLES in text or environment["HF_HUB_OFFLINE"] == "1"
        if "-o" in command:
            output = Path(command[command.index("-o") + 1])
            output.mkdir(parents=True, exist_ok=True)
            if " benchmark " in text:
                (output / "results.json").write_text("{}")
        return 1 if self.failing is not None and self.failing in text else 0

    def stages(self) -> list[str]:
        return [text for text in self.run if TABLES not in text]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """On a machine with a GPU of today and every engine, in an empty folder."""
    found = Commands()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "run_group", found)
    has_gpu(monkeypatch, "8.9")
    return found


def has_gpu(monkeypatch: pytest.MonkeyPatch, capability: str, *, lacks: str = "") -> None:
    """A GPU and all engines but the one that is called `lacks`."""
    monkeypatch.setattr(gpu, "machine_with_gpu", lambda: Machine(capability=capability))
    for name in ("missing_builder", "missing_provider"):
        monkeypatch.setattr(gpu_machine, name, lambda: None)
    engines = [_Engine(name, "is not installed" if name in lacks.split() else None) for name in ("cuda", "tensorrt")]
    monkeypatch.setattr(gpu_machine, "ENGINES", engines)


class _Engine:
    types_decide = True

    def __init__(self, name: str, reason: str | None) -> None:
        self.name, self._reason = name, reason

    def missing(self) -> str | None:
        return self._reason


def test_all_is_done_once_and_the_figures_are_kept(commands: Commands) -> None:
    main()
    assert len(commands.stages()) == len(STAGES)
    kept = ["gpu-demo.json", "gpu-sd15.json", "gpu-sdxl.json"]
    assert sorted(path.name for path in Path("docs/results").iterdir()) == kept
    assert TABLES in commands.run[-1]
    assert max(limit for limit in commands.limits if limit is not None) == 600.0
    assert None not in commands.limits
    main()
    assert len(commands.stages()) == len(STAGES)
    main(["doctor"])
    assert commands.stages()[-1] == "-m mezzotint doctor"


def test_benchmarks_have_every_bundle_and_peer_that_is_there(commands: Commands) -> None:
    main()
    benchmarks = [text for text in commands.run if " benchmark " in text]
    for model, text in zip(("demo", "sd15", "sdxl"), benchmarks, strict=True):
        for kind in ("fp16-cuda", "fp16-tensorrt", "int8-tensorrt", "fp8-tensorrt"):
            assert f"bundles/{model}-{kind}" in text
        assert f"--peers bundles/peers/gpu-{model}" in text
        assert "--fp16" in text
    builds = [text for text in commands.run if " build " in text]
    assert len(builds) == 9
    assert all(text.endswith("--compute-capability 8.9") for text in builds)


def test_a_stage_that_failed_holds_up_only_what_needs_it(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.failing = "quantize bundles/demo-fp32 -o bundles/demo-fp8-tensorrt"
    with pytest.raises(CheckFailed, match="not done: quantize-demo-fp8-tensorrt; see above, then run `make gpu` again"):
        main()
    said = capsys.readouterr().out
    assert "generate-fp8-tensorrt: passed over, quantize-demo-fp8-tensorrt is not done" in said
    assert "benchmark-sdxl: 0 s, exit code 0" in said
    before = len(commands.stages())
    commands.failing = None
    main()
    again = commands.stages()[before:]
    names = ("quantize", "build", "generate")
    assert [next(name for name in names if f" {name} " in text) for text in again] == list(names)
    assert all("bundles/demo-fp8-tensorrt" in text for text in again)


def test_a_benchmark_of_which_a_row_failed_is_kept_and_taken_again(commands: Commands) -> None:
    commands.failing = "benchmark demo/checkpoint"
    with pytest.raises(CheckFailed, match="not done: benchmark-demo"):
        main()
    assert Path("docs/results/gpu-demo.json").is_file()
    assert not Path("reports/gpu/done/benchmark-demo").exists()


def test_tables_that_could_not_be_made_are_named(commands: Commands) -> None:
    commands.failing = TABLES
    with pytest.raises(CheckFailed, match="not done: the pages' tables"):
        main()


def test_a_stage_that_takes_too_long_is_ended(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    commands.slow = "pytest"
    with pytest.raises(CheckFailed, match="not done: tests"):
        main()
    assert "tests: 0 s, out of time, and ended" in capsys.readouterr().out
    assert not Path("reports/gpu/done/tests").exists()


def test_nothing_is_begun_that_would_outlast_the_loan(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr(gpu, "_now", lambda: float(next(clock)))
    main(minutes=14)
    assert 0 < len(commands.stages()) < len(STAGES)
    assert max(limit for limit in commands.limits[:-1] if limit is not None) <= 600.0
    assert min(limit for limit in commands.limits[:-1] if limit is not None) >= 20.0


def test_what_needs_no_gpu_is_prepared_without_one(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "machine_with_gpu", machine_with_gpu)
    main(prepare=True)
    prepared = list(commands.run)
    assert set(commands.limits) == {None}
    assert not any(word in text for text in prepared for word in ("benchmark", "generate", "pytest", "peers", TABLES))
    assert sum(" quantize " in text for text in prepared) == 12
    builds = {text.split("bundles/")[1].split()[0]: text.split()[-1] for text in prepared if " build " in text}
    assert builds["sdxl-fp8-tensorrt"] == "8.9,12.0"
    assert builds["sdxl-int8-tensorrt"] == "8.0,8.6,8.9,12.0"
    has_gpu(monkeypatch, "8.9")
    main()
    assert not any(" quantize " in text for text in commands.run[len(prepared) :])


@pytest.mark.parametrize(
    ("capability", "lacks", "left", "why"),
    [
        ("8.6", "", "generate-fp8-tensorrt", "GPUs of compute capability 8.6 have no fp8"),
        ("9.0", "", "build-demo-int8", "TensorRT-RTX knows no GPU of compute capability 9.0"),
        ("8.9", "cuda", "peers-demo", "cuda is not installed"),
        ("8.9", "tensorrt", "generate-int8-tensorrt", "tensorrt is not installed"),
    ],
)
def test_what_this_gpu_cannot_do_is_passed_over_and_named(
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    capability: str,
    lacks: str,
    left: str,
    why: str,
) -> None:
    has_gpu(monkeypatch, capability, lacks=lacks)
    main()
    assert f"{left}: passed over, {why}" in capsys.readouterr().out
    measured = next(text for text in commands.run if "benchmark demo/checkpoint" in text)
    assert ("demo-fp16-cuda" in measured) == (lacks != "cuda")
    assert ("demo-int8-tensorrt" in measured) == (lacks != "tensorrt")


def test_a_data_centre_gpu_needs_ordinary_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    has_gpu(monkeypatch, "9.0")
    stage = BY_NAME["generate-int8-tensorrt"]
    assert Machine(capability="9.0").why_not(stage) is None
    monkeypatch.setattr(gpu_machine, "missing_provider", lambda: "needs TensorRT")
    assert Machine(capability="9.0").why_not(stage) == "tensorrt needs TensorRT"
    assert Machine(capability="8.9").why_not(stage) is None


def test_an_unknown_stage_lists_those_that_there_are(commands: Commands) -> None:
    with pytest.raises(MezzotintError) as caught:
        main(["doctor", "dance"])
    assert caught.value.got == "dance"
    assert commands.run == []


def test_without_a_gpu_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_machine, "has_nvidia_driver", lambda: False)
    with pytest.raises(MezzotintError, match=r"no GPU can be used here: this machine has no NVIDIA driver. .*prepare"):
        main()
    monkeypatch.setattr(gpu_machine, "has_nvidia_driver", lambda: True)
    has_gpu(monkeypatch, "8.9", lacks="cuda tensorrt")
    monkeypatch.setattr(gpu, "machine_with_gpu", machine_with_gpu)
    with pytest.raises(
        MezzotintError, match=r"no GPU can be used here: cuda is not installed; tensorrt is not installed"
    ):
        main()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("minutes", ["0", "-3", "nan", "inf", "soon"])
def test_a_loan_has_a_length(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(["--minutes", minutes])
    assert ended.value.code == 2
    assert f"got {minutes!r}, expected a number of minutes above 0" in capsys.readouterr().err


def test_commands_are_ones_that_there_are() -> None:
    """Every `mezzotint` command's options, against the command line itself."""
    from mezzotint.cli.commands import load

    machine = Machine(capability="8.9")
    for stage in STAGES:
        if stage.arguments[:2] == ("-m", "mezzotint"):
            given = [machine.capabilities(stage) if one == CAPABILITIES else one for one in stage.arguments[2:]]
            peers = ["--peers", stage.peers] if stage.peers else []
            name, *arguments = [*given, *(bundle for _, bundle in stage.bundles), *peers]
            load(name).make_context(name, arguments, resilient_parsing=False)


def test_stages_need_such_as_come_before() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen, stage.name
        assert stage.name not in seen
        seen.add(stage.name)
