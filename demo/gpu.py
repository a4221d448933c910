"""`make gpu`: everything that a machine with an NVIDIA GPU can tell, in stages of minutes, each taken once.

A machine may be lent for half an hour: a stage that is done is noted in reports/gpu/done and passed over the next time,
one that fails ends the run with its command's exit code and is tried again. What is measured ends in docs/results.
"""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT
from mezzotint.engines.lineup import ENGINES
from mezzotint.errors import MezzotintError

REPORTS = Path("reports/gpu")
RESULTS = Path("docs/results")
_LIMIT_SECONDS = 600
_CLI = ("-m", "mezzotint")
_PROMPT = "a flat emoji of a red apple on a blue background"
_EVALUATION = ("--prompts", "demo/prompts/evaluation.txt")
_KINDS = (("fp16", "cuda"), ("fp16", "tensorrt"), ("int8", "tensorrt"), ("fp8", "tensorrt"))
_SHORT = ("--trajectories", "2", "--steps-per-prompt", "2", "--samples", "4")  # of random weights, ranges mean nothing
_SHAPES = ("sd15", "sdxl")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A command of the interpreter, and what it leaves that is worth keeping, with the name that it is kept by."""

    name: str
    arguments: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()


def _quantize(model: str, recipe: str, target: str, *options: str) -> Stage:
    bundle = f"bundles/{model}-{recipe}-{target}"
    command = ("quantize", f"bundles/{model}-fp32", "-o", bundle, "--recipe", recipe, "--target", target, "--overwrite")
    return Stage(name=f"quantize-{model}-{recipe}-{target}", arguments=(*_CLI, *command, *options))


def _bundles(model: str) -> tuple[str, ...]:
    return tuple(f"bundles/{model}-{recipe}-{target}" for recipe, target in _KINDS)


def _benchmark(model: str, checkpoint: str, *options: str) -> Stage:
    output = REPORTS / model
    command = ("benchmark", checkpoint, *_bundles(model), "-o", str(output), *_EVALUATION, "--fp16", "--no-bf16")
    kept = ((str(output / "results.json"), f"gpu-{model}.json"),)
    return Stage(name=f"benchmark-{model}", arguments=(*_CLI, *command, *options), kept=kept)


def _of_shape(shape: str) -> tuple[Stage, ...]:
    checkpoint = f"bundles/{shape}/checkpoint"
    fp32 = f"bundles/{shape}-fp32"
    return (
        Stage(name=f"weights-{shape}", arguments=("-m", "demo.synthetic", shape, "-o", checkpoint, "--overwrite")),
        Stage(name=f"export-{shape}", arguments=(*_CLI, "export", checkpoint, "-o", fp32, "--overwrite")),
        *(_quantize(shape, recipe, target, *_SHORT) for recipe, target in _KINDS),
        _benchmark(shape, checkpoint, "--limit", "1", "--parts", "--images", "3", "--rounds", "2", "--no-fidelity"),
    )


STAGES: tuple[Stage, ...] = (
    Stage(name="doctor", arguments=(*_CLI, "doctor")),
    Stage(name="tests", arguments=("-m", "pytest", "-m", "gpu")),
    Stage(name="export-demo", arguments=("-m", "demo.run", "bundles/demo-fp32")),
    *(_quantize("demo", recipe, target, "--prompts", "demo/prompts/calibration.txt") for recipe, target in _KINDS),
    *(
        Stage(
            name=f"generate-{recipe}-{target}",
            arguments=(
                *(*_CLI, "generate", f"bundles/demo-{recipe}-{target}", _PROMPT, "--overwrite"),
                *("-o", str(REPORTS / f"{recipe}-{target}.png")),
            ),
        )
        for recipe, target in _KINDS
    ),
    _benchmark("demo", "demo/checkpoint", "--limit", "16", "--rounds", "2"),
    *(stage for shape in _SHAPES for stage in _of_shape(shape)),
)


def main(names: Sequence[str] = ()) -> None:
    """Run the stages called `names`, or all that are not done; exit with a failing command's code.

    MezzotintError where no engine can use a GPU, and for a stage that there is not.
    """
    known = [stage.name for stage in STAGES]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MezzotintError(what="stage", got=", ".join(unknown), expected=known)
    _check_gpu()
    done = REPORTS / "done"
    done.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        if stage.name in names or (not names and not (done / stage.name).exists()):
            _run(stage)
            (done / stage.name).touch()


def _check_gpu() -> None:
    reasons = [f"{engine.name} {engine.missing()}" for engine in ENGINES if engine.types_decide and engine.missing()]
    if len(reasons) == len([engine for engine in ENGINES if engine.types_decide]):
        raise MezzotintError(what=f"no GPU can be used here: {'; '.join(reasons)}")


def _run(stage: Stage) -> None:
    """Run a stage and keep what it measured. One that takes too long is ended; the next run takes it again."""
    STDOUT.print(f"$ python {shlex.join(stage.arguments)}", markup=False)
    started = time.monotonic()
    try:
        code = subprocess.run([sys.executable, *stage.arguments], check=False, timeout=_LIMIT_SECONDS).returncode
    except subprocess.TimeoutExpired:
        raise MezzotintError(
            what=f"{stage.name} was ended after {_LIMIT_SECONDS // 60} minutes", advice="run `make gpu` again"
        ) from None
    STDOUT.print(f"{stage.name}: {time.monotonic() - started:.0f} s, exit code {code}", markup=False)
    if code:
        sys.exit(code)
    for source, name in stage.kept:
        RESULTS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, RESULTS / name)


if __name__ == "__main__":
    with exit_with_a_sentence():
        main(sys.argv[1:])
