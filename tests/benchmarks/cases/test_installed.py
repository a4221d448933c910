import importlib.util
from pathlib import Path

import pytest

from mezzotint.benchmarks.cases.installed import imported_bytes, imported_packages


def test_modules_lead_to_the_packages_that_brought_them() -> None:
    assert imported_packages(["numpy.linalg", "PIL", "sys", "json", "__main__"]) == ["numpy", "pillow"]
    assert imported_packages(["sys"]) == []
    assert imported_bytes(["sys"]) == 0
    assert imported_bytes(["psutil"]) == 0  # it measures


def test_bytes_are_those_of_the_folders() -> None:
    spec = importlib.util.find_spec("tokenizers")
    assert spec is not None
    assert spec.origin is not None
    files = [path for path in Path(spec.origin).parent.rglob("*") if path.is_file()]
    assert imported_bytes(["tokenizers"]) == pytest.approx(sum(path.stat().st_size for path in files), rel=0.05)
