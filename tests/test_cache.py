"""The user's cache folder, by the rules of the XDG base directory specification, and what happens where it is none."""

import os
import stat
from pathlib import Path

import pytest

from mezzotint.cache import cache_folder, usable_folder
from mezzotint.quantize.calibrate.array_cache import cached_arrays, calibration_folder
from mezzotint.quantize.search.costs import Costs, Timed
from mezzotint.runtime import MezzotintError

TIMED = Timed("Conv", "input 2x4x8x8", "int8", "a processor", "engine 1.0", 2)


def test_the_variable_wins_when_it_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    in_home = tmp_path / "home" / ".cache" / "mezzotint" / "openvino"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder("openvino") == tmp_path / "cache" / "mezzotint" / "openvino"
    for relative in ("", ".", "cache", "~/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_folder("openvino") == in_home
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("openvino") == in_home
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the system does not know, as in a container that runs under a number."""

    def unknown(_number: int) -> object:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("no_home")
def test_without_a_home_everything_is_made_each_time() -> None:
    assert cache_folder("openvino") is None
    assert usable_folder(calibration_folder()) is None
    assert cached_arrays("kind", "key", dict) == {}
    costs = Costs()
    assert costs.time_ms(TIMED, lambda: 1.0) == 1.0
    assert costs.time_ms(TIMED, lambda: 2.0) == 1.0
    assert Costs().time_ms(TIMED, lambda: 3.0) == 3.0


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder below a file, which not even root can make."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    return tmp_path / "file"


@pytest.mark.usefixtures("unwritable")
def test_a_folder_that_cannot_be_written_is_as_good_as_none() -> None:
    assert usable_folder(calibration_folder()) is None
    assert cached_arrays("kind", "key", dict) == {}
    assert Costs().time_ms(TIMED, lambda: 1.0) == 1.0


def test_a_costs_file_that_somebody_named_has_to_be_written(unwritable: Path) -> None:
    with pytest.raises(MezzotintError, match=r"costs\.json.* --costs"):
        Costs(unwritable / "costs.json").time_ms(TIMED, lambda: 1.0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_not_usable(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert usable_folder(tmp_path) is None
    assert usable_folder(tmp_path / "deeper") is None
