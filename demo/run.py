"""`make demo`: the embedded checkpoint from weights to report, through the command line that users have.

Every step is a `mezzotint` command, printed before it runs. A step whose bundle is there, whole, and made from the same
inputs is skipped, so that a second run is fast. The first image is generated as soon as there is a bundle, and the
report compares a few; `make bench-demo` measures. `python -m demo.run BUNDLE...` makes those bundles and no report.
"""

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.bundle.bundle import list_files, sha256_of
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT
from mezzotint.runtime import Bundle, MezzotintError

CHECKPOINT = "demo/checkpoint"
FP32 = "bundles/demo-fp32"
REPORT = "reports/demo"
SHOWN = ("bundles/demo-fp16-openvino", "bundles/demo-int8-openvino", "bundles/demo-int8-onnxruntime")  # and FP32
_FIRST_IMAGE = f"{REPORT}/first-image.png"
_PROMPT = "a flat emoji of a red apple on a blue background"
_FLOORS_DB = {"openvino": "31", "onnxruntime": "30"}  # 65 and 72 % of all multiplications in INT8
_CALIBRATION = ("--trajectories", "64", "--samples", "256")  # twice the default: about 0.5 dB on unseen prompts
_CODE = ("runtime", "mezzotint/bundle", "mezzotint/engines")  # what every step goes through
_QUANTIZED = (("fp16", "openvino"), ("fp16", "onnxruntime"), ("int8", "openvino"), ("int8", "onnxruntime"))


@dataclass(frozen=True)
class Step:
    """A command that makes one bundle, and the folders and files that it is made from."""

    bundle: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]


def _quantize_step(recipe: str, target: str) -> Step:
    bundle = f"bundles/demo-{recipe}-{target}"
    arguments = ("quantize", FP32, "-o", bundle, "--recipe", recipe, "--target", target)
    prompts = "demo/prompts/calibration.txt"
    options = (*_CALIBRATION, "--min-sqnr-db", _FLOORS_DB[target]) if recipe == "int8" else ()
    return Step(bundle, (*arguments, "--prompts", prompts, *options), (FP32, prompts, *_CODE, "quantize"))


STEPS: tuple[Step, ...] = (
    Step(FP32, ("export", CHECKPOINT, "-o", FP32), (CHECKPOINT, *_CODE, "export")),
    *(_quantize_step(recipe, target) for recipe, target in _QUANTIZED),
)


def steps_for(bundles: Sequence[str]) -> tuple[Step, ...]:
    """The steps that make `bundles`, by path, in the order of STEPS; MezzotintError lists what there is."""
    known = [step.bundle for step in STEPS]
    unknown = [bundle for bundle in bundles if bundle not in known]
    if unknown:
        raise MezzotintError(f"the demo makes no {', '.join(unknown)}; it makes {', '.join(known)}")
    return tuple(step for step in STEPS if step.bundle in (*bundles, FP32))  # all others are made from FP32


def is_made(bundle: str) -> bool:
    """Whether one of the demo's bundles, by path, is there, whole, and what its step would make now."""
    (step,) = (step for step in STEPS if step.bundle == bundle)
    return _is_current(step, _fingerprint(step))


def main(bundles: Sequence[str] = ()) -> None:
    """Make what is missing of `bundles`, or of SHOWN and then the report; exit with a failing command's code."""
    for step in steps_for(bundles or SHOWN):
        _make(step)
        if not bundles and step.bundle == FP32:
            _generate_first_image()
    if not bundles:
        _report()


def _make(step: Step) -> None:
    """Run the step, unless what it would make is there."""
    fingerprint = _fingerprint(step)
    if _is_current(step, fingerprint):
        STDOUT.print(f"{step.bundle} is up to date")
        return
    _run(*step.arguments, "--overwrite")
    _stamp(step).write_text(fingerprint, encoding="utf-8")


def _generate_first_image() -> None:
    Path(REPORT).mkdir(parents=True, exist_ok=True)
    _run("generate", FP32, _PROMPT, "-o", _FIRST_IMAGE, "--overwrite")
    STDOUT.print(f"The first image is {_FIRST_IMAGE}; INT8 and the comparison follow.")


def _report() -> None:
    """Eight prompts in one round: enough to look at, and too few to quote."""
    prompts = ("--prompts", "demo/prompts/evaluation.txt", "--limit", "8")
    _run("benchmark", CHECKPOINT, FP32, *SHOWN, "-o", REPORT, *prompts, "--rounds", "1", "--no-other-seed")
    STDOUT.print(f"\nThe report is {REPORT}/report.html; open it in a browser. Next, with a checkpoint of your own:")
    STDOUT.print(
        "  mezzotint export path/to/checkpoint -o bundles/mine && mezzotint quantize bundles/mine -o bundles/mine-int8"
    )


def _stamp(step: Step) -> Path:
    return Path("bundles") / f".{Path(step.bundle).name}.inputs"


def _is_current(step: Step, fingerprint: str) -> bool:
    try:
        Bundle.open(step.bundle).verify()
        return _stamp(step).read_text(encoding="utf-8") == fingerprint
    except (MezzotintError, OSError):
        return False


def _fingerprint(step: Step) -> str:
    """A hash over the command and everything that it reads, our own code included."""
    digest = hashlib.sha256(repr(step.arguments).encode())
    for name in step.inputs:
        path = Path(name)
        files = [path] if path.is_file() else [path / item for item in list_files(path) if "__pycache__" not in item]
        for file in files:
            digest.update(f"{file.as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def _run(*arguments: str) -> None:
    command = ("mezzotint", *arguments)
    STDOUT.print(f"$ {shlex.join(command)}", markup=False)
    result = subprocess.run([sys.executable, "-m", *command], check=False)
    if result.returncode:
        sys.exit(result.returncode)


if __name__ == "__main__":
    with exit_with_a_sentence():
        main(sys.argv[1:])
