"""The names that programs import from the packages' faces: a change here is a change for users."""

import importlib
import subprocess
import sys

import pytest

FACES = {
    "mezzotint": {"__version__"},
    "mezzotint.runtime": {
        "Bundle",
        "Cancelled",
        "CheckFailed",
        "Control",
        "ControlUse",
        "HandOver",
        "ImageToImage",
        "Inpaint",
        "MezzotintError",
        "Options",
        "Origin",
        "OutsideCalibrationWarning",
        "Refine",
        "Result",
        "Settings",
        "Step",
        "TextToImage",
        "Timings",
        "canny",
        "read_origin",
        "read_settings",
    },
    "mezzotint.export": {
        "Chosen",
        "LatentSpaceWarning",
        "Origins",
        "ParityError",
        "SamplerWarning",
        "export_checkpoint",
        "swap_vae",
    },
    "mezzotint.quantize": {
        "Audit",
        "CalibrationSettings",
        "add_embeddings",
        "add_live_adapters",
        "audit_bundle",
        "check_coverage",
        "fuse_adapters",
        "quantize_bundle",
    },
    "mezzotint.cli": {"main"},
}


@pytest.mark.filterwarnings("default")  # a library that warns when imported is not our fault
@pytest.mark.parametrize("name", FACES)
def test_the_face_has_these_names_and_no_others(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module.__all__) == FACES[name]
    assert [entry for entry in FACES[name] if not hasattr(module, entry)] == []


def test_importing_the_runtime_has_no_effects() -> None:
    """Nothing printed, no thread, no file, no warning filter, no seed."""
    code = """
import random, threading, warnings
import numpy as np
before = (random.getstate(), np.random.get_state()[1].tolist(), list(warnings.filters), threading.active_count())
import mezzotint.runtime
after = (random.getstate(), np.random.get_state()[1].tolist(), list(warnings.filters), threading.active_count())
assert before == after
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
