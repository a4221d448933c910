"""The demo's prompts: what the embedded checkpoint can generate, balanced, within its token window, and disjoint."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from tokenizers import Tokenizer

DEMO = Path(__file__).resolve().parents[2] / "demo"
FILES = ("calibration.txt", "evaluation.txt")
STYLES = ("flat", "noto")
BACKGROUNDS = ("white", "black", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink")
TOKEN_WINDOW = 32  # BOS and EOS included

# The caption forms of the checkpoint's training.
FORMS = [
    re.compile(pattern)
    for pattern in (
        r"a (?P<style>flat|noto) emoji of (?:an? )?(?P<concept>.+) on an? (?P<background>\w+) background",
        r"(?P<style>flat|noto) style (?P<concept>.+), (?P<background>\w+) background",
        r"(?P<style>flat|noto) emoji of (?:an? )?(?P<concept>.+), (?P<background>\w+) background",
        r"(?P<concept>.+) emoji, (?P<style>flat|noto) style, (?P<background>\w+) background",
        r"(?P<style>flat|noto) (?P<concept>.+) on an? (?P<background>\w+) background",
    )
]


class Image(NamedTuple):
    concept: str
    style: str
    background: str


def lines_of(name: str) -> list[str]:
    return (DEMO / "prompts" / name).read_text(encoding="utf-8").removesuffix("\n").split("\n")


def parse(line: str) -> Image:
    for form in FORMS:
        if match := form.fullmatch(line):
            return Image(match["concept"], match["style"], match["background"])
    raise ValueError(f"{line!r} has none of the caption forms")


@pytest.mark.parametrize("name", FILES)
def test_there_are_64_clean_lines(name: str) -> None:
    lines = lines_of(name)
    assert len(lines) == len(set(lines)) == 64
    assert all(line and line == line.strip() and not line.startswith("#") for line in lines)


@pytest.mark.parametrize("name", FILES)
def test_styles_backgrounds_and_wordings_are_balanced(name: str) -> None:
    lines = lines_of(name)
    images = [parse(line) for line in lines]
    assert Counter(image.style for image in images) == dict.fromkeys(STYLES, 32)
    backgrounds = Counter(image.background for image in images)
    assert set(backgrounds) == set(BACKGROUNDS)
    assert set(backgrounds.values()) == {6, 7}
    forms = Counter(next(i for i, form in enumerate(FORMS) if form.fullmatch(line)) for line in lines)
    assert len(forms) == len(FORMS)


def test_calibration_and_evaluation_share_no_concept() -> None:
    calibration, evaluation = ({parse(line).concept for line in lines_of(name)} for name in FILES)
    assert len(calibration) == len(evaluation) == 64
    assert not calibration & evaluation


@pytest.mark.parametrize("name", FILES)
def test_prompts_fit_the_token_window(name: str) -> None:
    tokenizer = Tokenizer.from_file(str(DEMO / "checkpoint" / "tokenizer" / "tokenizer.json"))
    counts = [len(tokenizer.encode(line).ids) for line in lines_of(name)]
    assert min(counts) > 2
    assert max(counts) <= TOKEN_WINDOW
