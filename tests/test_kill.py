"""Real commands, killed at random moments: the bundle that was there or the new one, and never a mixture."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mezzotint.quantize import quantize_bundle
from mezzotint.runtime import Bundle

pytestmark = pytest.mark.slow
KILLS = 5


@pytest.fixture
def old(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle that neither command would write: FP16, but its VAE encoder."""
    quantize_bundle(
        tiny_bundle.path, tmp_path / "made", recipe="fp16", target="onnxruntime", overrides={"vae_encoder": "fp32"}
    )
    (tmp_path / "made").rename(tmp_path / "old")
    return tmp_path / "old"


def manifest_of(bundle: Path) -> bytes:
    return (bundle / "mezzotint.json").read_bytes()


def kill_at_random_moments(command: list[str], old: Path, seed: int) -> None:
    """Run `command` once to learn how long it takes, then kill it at `KILLS` moments, each time over `old`."""
    output = old.parent / "bundle"
    whole = [sys.executable, "-m", "mezzotint", *command, "-o", str(output), "--overwrite"]
    started = time.monotonic()
    subprocess.run(whole, check=True, capture_output=True)
    duration = time.monotonic() - started
    new, random_moments = manifest_of(output), random.Random(seed)
    for _ in range(KILLS):
        shutil.rmtree(output)
        shutil.copytree(old, output)
        with subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(random_moments.uniform(0.1, 1.0) * duration)
            process.send_signal(signal.SIGKILL)
        Bundle.open(output).verify()
        assert manifest_of(output) in (manifest_of(old), new)
    subprocess.run(whole, check=True, capture_output=True)
    assert manifest_of(output) == new
    assert sorted(path.name for path in output.parent.iterdir()) == ["bundle", "old"]


def test_export_survives_kills(old: Path, tiny_checkpoint: Path) -> None:
    kill_at_random_moments(["export", str(tiny_checkpoint)], old, seed=0)


def test_quantize_survives_kills(old: Path, tiny_bundle: Bundle, repo_root: Path) -> None:
    prompts = repo_root / "demo" / "prompts" / "calibration.txt"
    options = [
        "--recipe",
        "int8",
        "--target",
        "onnxruntime",
        "--prompts",
        str(prompts),
        "--steps",
        "4",
        "--samples",
        "8",
    ]
    kill_at_random_moments(["quantize", str(tiny_bundle.path), *options], old, seed=1)
