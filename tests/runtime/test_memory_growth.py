"""Nothing grows with the number of images, and tiles bound what a large one takes; each in a process of its own."""

import subprocess
import sys

import pytest

from mezzotint.runtime import Bundle

pytestmark = pytest.mark.slow
BACKENDS = pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])

STATUS = """
import sys
from pathlib import Path
from mezzotint.runtime import TextToImage

def status_bytes(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024

pipe = TextToImage.load(sys.argv[1], backend=sys.argv[2])
"""
THOUSAND = """
for seed in range(1000):
    pipe(f"a flat emoji of apple number {seed}", steps=2, seed=seed)
    if seed == 49:
        print(status_bytes("VmRSS:"))
print(status_bytes("VmRSS:"))
"""
DECODE = """
import numpy as np
side = int(sys.argv[3])
latents = np.random.default_rng(0).standard_normal((1, 4, side, side), dtype=np.float32)
pipe.decode(latents[:, :, :16, :16])  # of the native size: everything is loaded by now
print(status_bytes("VmHWM:"))
pipe.decode(latents, tiled=sys.argv[4] == "tiled")
print(status_bytes("VmHWM:"))
"""


def figures(script: str, *arguments: object) -> list[int]:
    """The numbers that `script` prints."""
    command = [sys.executable, "-c", STATUS + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def report(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


@BACKENDS
def test_a_thousand_images_take_no_more_memory_than_fifty(
    demo_bundle: Bundle, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    after_fifty, after_all = figures(THOUSAND, demo_bundle.path, backend)
    report(capsys, f"{backend}: RSS {after_fifty / 1e6:.1f} MB after 50 images, {after_all / 1e6:.1f} MB after 1,000")
    assert after_all < 1.01 * after_fifty


@BACKENDS
def test_tiles_take_a_small_part_of_what_a_large_image_takes_whole(
    demo_bundle: Bundle, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 384x384 pixels, 36 times the native area: what is left are the pixels themselves, and sums of them."""
    added = {}
    for how in ("whole", "tiled"):
        before, peak = figures(DECODE, demo_bundle.path, backend, 96, how)
        added[how] = peak - before
    report(capsys, ", ".join(f"{backend}, decoded {how}: {size / 1e6:.0f} MB more" for how, size in added.items()))
    assert added["tiled"] < 0.1 * added["whole"]
