"""Captions: the forms in which a picture's style, concept and background are put into words, and other words for it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError

from .artwork.concepts import Concept
from .config import KEYWORDS, STYLES
from .workspace import Workspace

Keywords = Mapping[str, Sequence[str]]
"""Other words for an icon, by its name."""

FORMS = (
    "a {style} emoji of {a_name} on {a_background} background",
    "{style} style {name}, {background} background",
    "{style} emoji of {a_name}, {background} background",
    "{name} emoji, {style} style, {background} background",
    "{style} {name} on {a_background} background",
)
_GROUPS = {
    "style": rf"(?P<style>{'|'.join(STYLES)})",
    "name": r"(?P<name>.+)",
    "a_name": r"(?:an? )?(?P<name>.+)",
    "background": r"(?P<background>\w+)",
    "a_background": r"an? (?P<background>\w+)",
}
_PATTERNS = tuple(re.compile(form.format(**_GROUPS)) for form in FORMS)
_WITHOUT_STYLE = ("{name} on {a_background} background", "{name}, {background} background")
_WITHOUT_BACKGROUND = (
    "{a_name}",
    "{name}",
    "a {style} emoji of {a_name}",
    "{style} style {name}",
    "{name} emoji, {style} style",
    "{style} {name}",
)
_WITHOUT_STYLE_SHARE = 0.15
_WITHOUT_BACKGROUND_SHARE = 0.7  # where it is white, which is what a picture without a word about it shows
_KEYWORD_INSTEAD_SHARE, _KEYWORD_BESIDE_SHARE = 0.04, 0.08
_PLAIN_WORDS = re.compile(r"[a-z][a-z ']{2,18}")


def caption(concept: Concept, style: str, background: str, keywords: Keywords, rng: Random) -> str:
    """One caption at random. A white background is often left unsaid, any other one never."""
    name = _name(concept, keywords.get(concept.icon, ()), rng)
    if background == "white" and rng.random() < _WITHOUT_BACKGROUND_SHARE:
        forms: Sequence[str] = _WITHOUT_BACKGROUND
    else:
        forms = _WITHOUT_STYLE if rng.random() < _WITHOUT_STYLE_SHARE else FORMS
    return caption_in_form(rng.choice(forms), name, style, background)


def caption_in_form(form: str, name: str, style: str, background: str) -> str:
    """One of the forms, filled in."""
    articles = {"a_name": _with_article(name), "a_background": _with_article(background)}
    return form.format(name=name, style=style, background=background, **articles)


def parse_caption(text: str) -> tuple[str, str, str]:
    """Style, name and background of a caption in one of FORMS. MezzotintError for any other text."""
    for pattern in _PATTERNS:
        if match := pattern.fullmatch(text):
            return match["style"], match["name"], match["background"]
    raise MezzotintError(f"the prompt {text!r} has none of the forms of captions, such as {FORMS[1]!r}")


def _name(concept: Concept, keywords: Sequence[str], rng: Random) -> str:
    """The concept's name; now and then a keyword in its place, or after it."""
    chance = rng.random()
    if not keywords or chance >= _KEYWORD_INSTEAD_SHARE + _KEYWORD_BESIDE_SHARE:
        return concept.name
    keyword = rng.choice(keywords)
    return keyword if chance < _KEYWORD_INSTEAD_SHARE else f"{concept.name} {keyword}"


def _with_article(name: str) -> str:
    """With "a" or "an", by the first letter; plurals as they are."""
    if name.endswith("s") and not name.endswith("ss"):
        return name
    return f"{'an' if name[0] in 'aeiou8' else 'a'} {name}"


def write_keywords(workspace: Workspace, concepts: Sequence[Concept]) -> None:
    """The third stage: the keywords of every concept, from emojilib, whose first keyword of an emoji is its name."""
    emoji = read_emojilib(workspace)
    by_icon = {words[0].replace("_", "-"): words[1:] for words in emoji if words}
    keywords = {concept.icon: _plain(by_icon.get(concept.icon, ()), concept) for concept in concepts}
    write_text(workspace.keywords, json.dumps(keywords, indent=0, ensure_ascii=False) + "\n")


def read_emojilib(workspace: Workspace) -> list[list[str]]:
    """All keywords, a list for each emoji."""
    path = workspace.package(KEYWORDS) / "dist" / "emoji-en-US.json"
    return list(json.loads(path.read_text(encoding="utf-8")).values())


def _plain(words: Sequence[str], concept: Concept) -> list[str]:
    """Without codes, symbols, and the concept's own name."""
    cleaned = (word.replace("_", " ").lower().strip() for word in words)
    return [word for word in cleaned if _PLAIN_WORDS.fullmatch(word) and word != concept.name]


def load_keywords(path: Path) -> Keywords:
    """What `write_keywords` wrote."""
    keywords: Keywords = json.loads(path.read_text(encoding="utf-8"))
    return keywords
