"""What a user sees of long work: a bar on a terminal, a line now and then in a log."""

import io
import warnings

import pytest
from rich.console import Console

from mezzotint.cli.terminal import logged_progress, progress_bar, warnings_as_lines


def test_a_warning_is_one_line_however_often_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings_as_lines():
        for text in ("too long", "too large", "too long"):
            warnings.warn(text, stacklevel=1)
    assert capsys.readouterr().err.splitlines() == ["warning: too long", "warning: too large"]


def test_a_log_has_a_line_for_each_part_and_one_a_minute() -> None:
    log, times_s = io.StringIO(), iter([0.0, 30.0, 61.0, 62.0, 63.0, 130.0])
    report = logged_progress(Console(file=log), clock=lambda: next(times_s))
    for done in range(4):  # at 0, 30, 61 and 62 s
        report("generating", done, 4)
    for done in range(2):  # at 63 and 130 s
        report("scoring", done, 2)
    assert log.getvalue().splitlines() == ["generating (0/4)", "generating (2/4)", "scoring (0/2)", "scoring (1/2)"]


def test_a_terminal_has_one_bar_and_it_is_the_current_parts() -> None:
    screen = io.StringIO()
    with progress_bar(Console(file=screen, force_terminal=True, width=80)) as report:
        report("generating", 4, 4)
        report("scoring", 1, 2)
    last = screen.getvalue().rsplit("scoring", 1)[1]
    assert "1/2" in last
    assert "generating" not in last
