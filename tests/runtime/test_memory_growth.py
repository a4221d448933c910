"""Nothing grows with the number of pictures."""

from pathlib import Path

import pytest

from mezzotint.runtime import Bundle, TextToImage


def resident_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_thousand_pictures_take_no_more_memory_than_fifty(tiny_bundle: Bundle, backend: str) -> None:
    pipe = TextToImage.load(tiny_bundle.path, backend=backend)
    for seed in range(50):
        pipe("a red apple", steps=2, seed=seed)
    after_fifty = resident_bytes()
    for seed in range(50, 1000):
        pipe(f"apple number {seed}", steps=2, seed=seed)
    assert resident_bytes() < 1.01 * after_fifty
