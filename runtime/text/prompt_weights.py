"""The weighted prompt syntax that users of Stable Diffusion's web interfaces know.

    (word)      weighs 1.1          ((word))  1.21        (word:1.3)  1.3, whatever is written inside
    [word]      weighs 1 / 1.1      \\( \\) \\[ \\] \\\\       the sign itself
    BREAK       starts a new chunk of tokens

A bracket that is never closed reaches to the end of the prompt, and one that closes nothing is text. These are the
rules of AUTOMATIC1111's interface. Its prompt editing `[from:to:when]` is refused, for here it would
only be odd words, and so is a `<lora:...>` that is left: networks.py takes those of prompts out before.
"""

import re
from dataclasses import dataclass

from mezzotint.errors import MezzotintError

_ROUND = 1.1
_SQUARE = 1.0 / 1.1
_LARGEST_WEIGHT = 20.0

_SIGNS = re.compile(
    r"\\(?P<escaped>[()\[\]\\])"
    r"|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    r"|(?P<bracket>[()\[\]])"
    r"|\b(?P<break>BREAK)\b"
)
_EDITING = re.compile(r"(?<!\\)\[[^\[\]()]*:[^\[\]()]*:\s*[\d.]+\s*\]")
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Fragment:
    """A piece of a prompt, and how much its words weigh; 1 is as written."""

    text: str
    weight: float


Section = tuple[Fragment, ...]


class _Builder:
    """The fragments so far, and where the brackets that are still open began."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.weights: list[float] = []
        self.open: dict[str, list[int]] = {"(": [], "[": []}

    def add(self, text: str) -> None:
        if text:
            self.texts.append(text)
            self.weights.append(1.0)

    def close(self, bracket: str, weight: float) -> None:
        self._weigh(self.open[bracket].pop(), weight)

    def close_all(self) -> None:
        for start in self.open["("]:
            self._weigh(start, _ROUND)
        for start in self.open["["]:
            self._weigh(start, _SQUARE)

    def _weigh(self, start: int, weight: float) -> None:
        self.weights[start:] = [before * weight for before in self.weights[start:]]


def parse_weights(prompt: str) -> tuple[Section, ...]:
    """The sections of a prompt, split at BREAK; each has fragments in their order, neighbours of equal weight joined.

    A prompt without any sign of the syntax is one section of one fragment, the prompt itself; an empty one has none.
    Raises MezzotintError for weights beyond +-20 and for syntax that is known elsewhere and not supported here.
    """
    for pattern, what in ((_EDITING, "prompt editing"), (_NETWORK, "an extra network")):
        found = pattern.search(prompt)
        if found:
            raise MezzotintError(
                f"the prompt asks for {what}, {found[0]!r:.60}, which is not supported; write \\[ for a bracket"
            )
    builder = _Builder()
    sections = [0]  # where each section begins
    position = 0
    for sign in _SIGNS.finditer(prompt):
        builder.add(prompt[position : sign.start()])
        position = sign.end()
        if sign["break"]:
            sections.append(len(builder.texts))
        else:
            _apply(sign, builder)
    builder.add(prompt[position:])
    builder.close_all()
    ends = [*sections[1:], len(builder.texts)]
    return tuple(_joined(builder, start, end) for start, end in zip(sections, ends, strict=True))


def _apply(sign: re.Match[str], builder: _Builder) -> None:
    bracket = sign["bracket"]
    if sign["escaped"]:
        builder.add(sign["escaped"])
    elif sign["weight"] and builder.open["("]:
        builder.close("(", float(sign["weight"]))
    elif bracket in ("(", "["):
        builder.open[bracket].append(len(builder.texts))
    elif bracket == ")" and builder.open["("]:
        builder.close("(", _ROUND)
    elif bracket == "]" and builder.open["["]:
        builder.close("[", _SQUARE)
    else:
        builder.add(sign[0])


def _joined(builder: _Builder, start: int, end: int) -> Section:
    fragments: list[Fragment] = []
    for text, weight in zip(builder.texts[start:end], builder.weights[start:end], strict=True):
        if not abs(weight) <= _LARGEST_WEIGHT:
            raise MezzotintError(
                f"the prompt weighs {text!r:.60} with {weight:g}, expected -{_LARGEST_WEIGHT:g} to {_LARGEST_WEIGHT:g}"
            )
        if fragments and fragments[-1].weight == weight:
            fragments[-1] = Fragment(fragments[-1].text + text, weight)
        else:
            fragments.append(Fragment(text, weight))
    return tuple(fragments)
