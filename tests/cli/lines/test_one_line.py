"""What files say in a sentence is shown on one line, and does nothing to the terminal."""

import json
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest

from mezzotint.cli.app import main
from mezzotint.cli.lines.one_line import one_line

ODD = "a\nb\r\x1b[31m\x07\u2028\u202e\ud800\x9b"


def test_plain_text_stays_as_it_is() -> None:
    for text in ("", "models/a b.safetensors is empty; download it again", "wörter, 猫, \U0001f468\u200d\U0001f469"):
        assert one_line(text) == text


def test_what_is_no_character_to_look_at_is_escaped() -> None:
    shown = one_line(ODD)
    assert shown == r"a\nb\r\x1b[31m\x07\u2028\u202e\ud800\x9b"
    assert all(unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in shown)
    assert shown.splitlines() == [shown]


def test_of_a_long_text_both_ends_are_shown() -> None:
    shown = one_line(f"it begins {'x' * 1_000_000} and ends")
    assert len(shown) == 8000
    assert shown.startswith("it begins x")
    assert shown.endswith("x and ends")
    assert "[...]" in shown


@pytest.mark.parametrize("key", [f"key {ODD[:-2]}", "k" * 100_000])
def test_a_key_of_a_config_is_told_on_one_line(
    key: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    path = copy / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: 1}), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["mezzotint", "export", str(copy), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mezzotint: ")]
    (line,) = said
    assert "which Mezzotint does not know" in line
    assert len(line) < 10_000
    assert "\x1b" not in line
