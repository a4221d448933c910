"""The weighted syntax: its rules one by one, and random prompts whose weights are known because they were built so."""

import random
import string

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.prompt_weights import Fragment, parse_weights


def parsed(prompt: str) -> list[tuple[str, float]]:
    """The fragments of a prompt of one section, weights rounded."""
    (section,) = parse_weights(prompt)
    return [(fragment.text, round(fragment.weight, 6)) for fragment in section]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red apple", [("a red apple", 1.0)]),
        ("", []),
        ("a (red) apple", [("a ", 1.0), ("red", 1.1), (" apple", 1.0)]),
        ("a ((red)) apple", [("a ", 1.0), ("red", 1.21), (" apple", 1.0)]),
        ("a [red] apple", [("a ", 1.0), ("red", 0.909091), (" apple", 1.0)]),
        ("(red:1.3)", [("red", 1.3)]),
        ("(red : .5 )", [("red ", 0.5)]),
        ("(red:-1)", [("red", -1.0)]),
        ("(a (b) c:2)", [("a ", 2.0), ("b", 2.2), (" c", 2.0)]),
        ("(a [b] c)", [("a ", 1.1), ("b", 1.0), (" c", 1.1)]),
        ("(a)(b)", [("ab", 1.1)]),
        (r"a \(b\) \[c\] \\", [("a (b) [c] \\", 1.0)]),
        (r"a \n", [(r"a \n", 1.0)]),
        ("a (b", [("a ", 1.0), ("b", 1.1)]),
        ("a [b", [("a ", 1.0), ("b", 0.909091)]),
        ("a) b]", [("a) b]", 1.0)]),
        ("a:1.5) b", [("a:1.5) b", 1.0)]),
        ("(a: b)", [("a: b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        ("()", []),
        ("a ratio of 1:2", [("a ratio of 1:2", 1.0)]),
        ("UNBREAKABLE", [("UNBREAKABLE", 1.0)]),
    ],
)
def test_rules(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert parsed(prompt) == expected


def test_break_starts_a_section_and_weights_reach_across_it() -> None:
    assert parse_weights("a BREAK (b BREAK c:2)") == (
        (Fragment("a ", 1.0),),
        (Fragment(" ", 1.0), Fragment("b ", 2.0)),
        (Fragment(" c", 2.0),),
    )


@pytest.mark.parametrize("seed", range(200))
def test_random_prompts_get_the_weights_they_were_built_with(seed: int) -> None:
    rng = random.Random(seed)
    characters: list[tuple[str, float]] = []

    def built(depth: int, weight: float) -> str:
        """A prompt whose characters, and the weight that each should have, are appended to `characters`."""
        parts = []
        for _ in range(rng.randint(1, 3)):
            kind = rng.choice(["text", "escape", "round", "square", "number"]) if depth < 4 else "text"
            if kind == "text":
                text = "".join(rng.choices(string.ascii_lowercase + " ,.é", k=rng.randint(1, 6)))
                characters.extend((sign, weight) for sign in text)
                parts.append(text)
            elif kind == "escape":
                sign = rng.choice("()[]\\")
                characters.append((sign, weight))
                parts.append("\\" + sign)
            elif kind == "round":
                parts.append(f"({built(depth + 1, weight * 1.1)})")
            elif kind == "square":
                parts.append(f"[{built(depth + 1, weight / 1.1)}]")
            else:
                factor = rng.choice([0.5, 1.3, 2.0, -1.0])
                parts.append(f"({built(depth + 1, weight * factor)}:{factor})")
        return "".join(parts)

    (section,) = parse_weights(built(0, 1.0))
    found = [(sign, fragment.weight) for fragment in section for sign in fragment.text]
    assert [sign for sign, _ in found] == [sign for sign, _ in characters]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in characters])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("(a:21)", "weighs 'a' with 21, expected -20 to 20"),
        ("(" * 60 + "a", "weighs 'a' with 304"),
        ("(" * 9000 + "a", "weighs 'a' with inf"),
        ("(a:" + "9" * 400 + ")", "weighs 'a' with inf"),
        ("a [cat:dog:0.5]", r"asks for prompt editing, '\[cat:dog:0.5\]'"),
        ("a <lora:thing:1>", "asks for an extra network, '<lora:thing:1>'"),
    ],
)
def test_what_is_not_supported_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        parse_weights(prompt)
