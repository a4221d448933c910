"""A full disk is one sentence and exit code 2, and leaves what was there; a limit on file sizes stands for it."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.atomic_folder import replace_folder
from mezzotint.disk_full import disk_full_error
from mezzotint.engines.engine_errors import load_error
from mezzotint.runtime import Bundle, MezzotintError

LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from mezzotint.cli.app import main
main()
"""


def run_limited(limit_bytes: int, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", LIMITED, str(limit_bytes), *map(str, command)]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("mezzotint: ")]
    assert len(said) == 1
    assert "File too large" in said[0]


@pytest.mark.parametrize(
    "limit_bytes", [20_000, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (100, 300_000))]
)
def test_quantize_leaves_the_bundle_that_was_there(tiny_bundle: Bundle, tmp_path: Path, limit_bytes: int) -> None:
    command = ("quantize", tiny_bundle.path, "-o", "out", "--recipe", "fp16", "--target", "onnxruntime")
    assert_one_sentence(run_limited(limit_bytes, *command, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [100, 20_000, 300_000])
def test_export_leaves_nothing(tiny_checkpoint: Path, tmp_path: Path, limit_bytes: int) -> None:
    assert_one_sentence(run_limited(limit_bytes, "export", tiny_checkpoint, "-o", "out", cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_generate_leaves_no_image(tiny_bundle: Bundle, tmp_path: Path) -> None:
    command = ("generate", tiny_bundle.path, "a", "-o", "out.png", "--steps", 1, "--backend", "onnxruntime")
    assert_one_sentence(run_limited(100, *command, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_openvino_generates_without_room_for_its_cache(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ("generate", tiny_bundle.path, "a", "-o", "out.png", "--steps", 1, "--backend", "openvino")
    done = run_limited(4_000, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def full(name: str | None = "unet/model.onnx_data") -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", name)


def test_a_full_disk_is_known_by_its_number_also_behind_another_error() -> None:
    try:
        raise RuntimeError("the graph was not saved") from full()
    except RuntimeError as error:
        found = disk_full_error(error)
    assert "no room to write unet/model.onnx_data (No space left on device); free some" in str(found)
    assert "to write a file (" in str(disk_full_error(full(None)))
    for other in (None, RuntimeError("x"), PermissionError(errno.EACCES, "Permission denied")):
        assert disk_full_error(other) is None


def test_a_folder_that_cannot_be_filled_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="no room to write"), replace_folder(tmp_path / "out", marker="m"):
        raise full()
    with pytest.raises(PermissionError), replace_folder(tmp_path / "out", marker="m"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert list(tmp_path.iterdir()) == []


def test_a_self_test_without_room_blames_the_disk_and_not_the_engine() -> None:
    assert "no room to write" in str(
        load_error("unet", Path("unet/model.onnx"), "openvino", full("/tmp/self-test.onnx"))
    )
