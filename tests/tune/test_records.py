"""What a search keeps and reads: the journal after kills, prompts and their split, and names of what is to be made."""

from pathlib import Path

import pytest

from mezzotint.bundle.profile import Goal, Promise
from mezzotint.errors import MezzotintError
from mezzotint.tune.candidate import Candidate
from mezzotint.tune.frontier import frontier, price_lines
from mezzotint.tune.journal import Journal
from mezzotint.tune.making import Making
from mezzotint.tune.prompts import split_prompts
from mezzotint.tune.trials import Trial, is_settled

PROMPTS = tuple(f"{number} pears" for number in range(40))


def test_a_journal_that_was_cut_at_any_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal")
    for number in range(3):
        journal.put(f"key {number}", {"psnr_db": float("inf"), "ms": number + 0.5})
    content = (tmp_path / "journal").read_bytes()
    for end in range(len(content) + 1):
        path = tmp_path / "cut"
        path.write_bytes(content[:end])
        cut = Journal.open(path)
        whole = content[:end].count(b"\n")
        assert [cut.get(f"key {number}") is not None for number in range(3)] == [number < whole for number in range(3)]
        cut.put("more", {"ms": 1.0})
        again = Journal.open(path)
        assert again.get("more") == {"ms": 1.0}
        assert again.get("key 0") == ({"psnr_db": float("inf"), "ms": 0.5} if whole else None)


@pytest.mark.parametrize("line", [b"[1]\n", b'{"a": 1}\n', b'["a", 3]\n', b'["a", {"b": "c"}]\n', b"\xff\n"])
def test_what_is_no_line_of_a_journal_ends_it(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b'["a", {"b": 1}]\n' + line + b'["c", {"d": 1}]\n')
    journal = Journal.open(tmp_path / "journal")
    assert journal.get("a") == {"b": 1.0}
    assert journal.get("c") is None
    assert (tmp_path / "journal").read_bytes() == b'["a", {"b": 1}]\n'


def test_a_journal_without_a_place_remembers() -> None:
    journal = Journal.open(None)
    journal.put("a", {"b": 1.0})
    assert journal.get("a") == {"b": 1.0}


@pytest.mark.parametrize(("count", "search", "confirm"), [(40, 10, 20), (40, 24, 32), (12, 24, 32), (8, 4, 4)])
def test_no_prompt_both_searches_and_confirms(count: int, search: int, confirm: int) -> None:
    split = split_prompts(PROMPTS[:count] * 2, search, confirm)  # of equal prompts one
    texts = [text for text, _ in (*split.search, *split.confirm)]
    seeds = [seed for _, seed in (*split.search, *split.confirm)]
    assert len(set(texts)) == len(texts) == len(set(seeds)) == min(count, search + confirm)
    if count >= search + confirm:
        assert (len(split.search), len(split.confirm)) == (search, confirm)


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(MezzotintError, match="7 different prompts"):
        split_prompts(PROMPTS[:7], 24, 32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fp16", Making(recipe="fp16")),
        ("int8:35", Making(recipe="int8", min_sqnr_db=35.0)),
        ("int8-weights", Making(recipe="int8-weights")),
        ("int8:31.5+pooled-keys", Making(recipe="int8", min_sqnr_db=31.5, approximations=("pooled-keys",))),
        (
            "int8+pooled-keys+deep-cache:1",
            Making(recipe="int8", approximations=("pooled-keys", "deep-cache:1")),
        ),
    ],
)
def test_what_is_to_be_made(text: str, expected: Making) -> None:
    assert Making.parse(text) == expected


@pytest.mark.parametrize("text", ["", "int9", "int8:", "int8:1.2.3", "int8+", "int8+blur", "INT8", "int8 fp16"])
def test_what_cannot_be_made_is_refused(text: str) -> None:
    with pytest.raises(MezzotintError) as error:
        Making.parse(text)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("values", "count", "expected"),
    [
        ([31.0], 9, False),
        ([31.0] * 5, 9, True),  # more than half keep it
        ([31.0] * 4 + [20.0] * 3, 9, False),
        ([31.0] * 4 + [20.0] * 5, 9, True),  # more than half do not
        ([27.0] * 4, 32, False),
        ([27.0] * 5, 32, True),  # not one of five
        ([31.0] + [20.0] * 5, 32, False),
        ([27.0] * 4, 4, True),
        ([20.0], 32, False),
        ([20.0] * 2, 32, True),  # by far
    ],
)
def test_a_look_ends_when_its_answer_is_clear(values: list[float], count: int, *, expected: bool) -> None:
    assert is_settled(values, Promise(goal=Goal.PSNR_DB, value=30.0), count) is expected
    assert is_settled(values, Promise(goal=Goal.STEP_MS, value=30.0), count) is False


def trial(ms: float, *psnr_db: float) -> Trial:
    candidate = Candidate(variant="own", sampler="ddim", steps=int(ms))
    return Trial(candidate=candidate, expected_ms=ms, images=tuple({"psnr_db": one} for one in psnr_db))


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    tried = [
        trial(100, 30.0),
        trial(300, float("inf")),
        trial(200, 36.0, 34.0, 38.0),
        trial(250, 35.0),
        trial(50, 10.0),
    ]
    front = frontier(tried, "psnr_db")
    assert [one.expected_ms for one in front] == [300, 200, 100, 50]
    lines = price_lines(front)
    assert len(lines) == 4
    assert "identical" in lines[0]
    assert "a second" not in lines[1]  # from no difference at all there is no number of decibels
    assert "0.1 s less for 6.0 dB, 60 dB a second" in lines[2]
