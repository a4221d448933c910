"""Captions and the tokenizer that is learned from them."""

import re
from pathlib import Path
from random import Random

import pytest
from transformers import CLIPTokenizerFast

from demo.train.artwork.concepts import Concept, read_concepts
from demo.train.captions import FORMS, caption, caption_in_form, load_keywords, parse_caption, write_keywords
from demo.train.config import BACKGROUNDS
from demo.train.tokenizer import learn_tokenizer, load_tokenizer, train_tokenizer
from demo.train.workspace import Workspace
from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.prompts import read_prompts
from mezzotint.runtime.text.tokenizer import ClipTokenizer
from tests.demo.small_recipe import CONCEPTS, RECIPE, write_artwork

APPLE = Concept("red-apple", "red apple", "focus")
KEYWORDS = {"red-apple": ("fruit", "mac")}


def test_articles() -> None:
    assert caption_in_form(FORMS[0], "owl", "flat", "orange") == "a flat emoji of an owl on an orange background"
    assert caption_in_form(FORMS[4], "8 ball", "noto", "red") == "noto 8 ball on a red background"
    assert caption_in_form(FORMS[2], "8 ball", "noto", "red") == "noto emoji of an 8 ball, red background"
    assert caption_in_form(FORMS[2], "sunglasses", "noto", "red") == "noto emoji of sunglasses, red background"
    assert caption_in_form(FORMS[2], "cutlass", "noto", "red") == "noto emoji of a cutlass, red background"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["red apple", "ice cream", "glasses", "light bulb", "8 ball"])
def test_a_caption_can_be_read_back(form: str, name: str) -> None:
    assert parse_caption(caption_in_form(form, name, "noto", "orange")) == ("noto", name, "orange")


def test_other_texts_are_refused() -> None:
    with pytest.raises(MezzotintError, match="none of the forms"):
        parse_caption("a photo of an astronaut")


@pytest.mark.parametrize("file", ["calibration.txt", "evaluation.txt"])
def test_the_demos_prompts_ask_for_concepts_that_were_trained_most(file: str, repo_root: Path) -> None:
    focus = {concept.name for concept in read_concepts() if concept.group == "focus"}
    for prompt in read_prompts(repo_root / "demo" / "prompts" / file):
        _, name, background = parse_caption(prompt)
        assert name in focus
        assert background in BACKGROUNDS


def test_every_background_but_white_is_named() -> None:
    rng = Random(0)
    for background in BACKGROUNDS:
        texts = [caption(APPLE, "flat", background, {}, rng) for _ in range(400)]
        unsaid = sum(not re.search(rf"\b{background} background", text) for text in texts) / len(texts)
        assert unsaid == (pytest.approx(0.7, abs=0.07) if background == "white" else 0.0)
        assert all("red apple" in text for text in texts)
        if background != "white":
            assert sum("flat" not in text for text in texts) / len(texts) == pytest.approx(0.15, abs=0.06)


def test_keywords_stand_in_for_the_name_or_beside_it() -> None:
    rng = Random(0)
    texts = [caption(APPLE, "flat", "red", KEYWORDS, rng) for _ in range(4000)]
    beside = sum(bool(re.search("red apple (fruit|mac)", text)) for text in texts)
    instead = sum("red apple" not in text for text in texts)
    assert beside / len(texts) == pytest.approx(0.08, abs=0.015)
    assert instead / len(texts) == pytest.approx(0.04, abs=0.01)


def test_keywords_are_plain_words_other_than_the_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "training")
    write_artwork(workspace)
    write_keywords(workspace, CONCEPTS)
    keywords = load_keywords(workspace.keywords)
    assert keywords["red-ball"] == ["toy", "round thing"]
    assert keywords["blue-ring"] == ["jewel"]
    assert keywords["green-brick"] == []
    assert len(keywords) == len(CONCEPTS)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("resvg_py")
    from tests.demo.small_recipe import run

    return run(tmp_path_factory.mktemp("tokenizer") / "training", until="tokenizer").tokenizer


TEXTS = (
    "a flat emoji of a red ball on a blue background",
    "  Noto STYLE green   ring, pink background!! ",
    "it's 42 xylophones, caf\u00e9 \u2603",
    "",
)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_tokenizer_is_clips_to_transformers_and_to_the_runtime(tokenizer_folder: Path) -> None:
    ours = load_tokenizer(tokenizer_folder, RECIPE.tokens)
    theirs = CLIPTokenizerFast(str(tokenizer_folder / "vocab.json"), str(tokenizer_folder / "merges.txt"))
    runtime = ClipTokenizer.load(tokenizer_folder)
    for text in TEXTS:
        ids = ours.encode(text).ids
        assert len(ids) == RECIPE.tokens
        assert theirs(text)["input_ids"] == ids[: ids.index(ours.token_to_id("<|endoftext|>")) + 1]
        assert runtime.encode([text])[0].tolist() == ids


def test_the_vocabulary_has_clips_layout(tokenizer_folder: Path) -> None:
    ours = load_tokenizer(tokenizer_folder, RECIPE.tokens)
    assert ours.get_vocab_size() == RECIPE.vocabulary
    assert [ours.id_to_token(index) for index in (0, 256, 598, 599)] == [
        "!",
        "!</w>",
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    ids = ours.encode("red ball background").ids
    assert [ours.id_to_token(index) for index in ids[1:4]] == ["red</w>", "ball</w>", "background</w>"]


def test_too_large_a_vocabulary_is_refused() -> None:
    with pytest.raises(MezzotintError, match="expected 2000; choose a smaller"):
        learn_tokenizer(["red ball", "red ball"], 2000)


def test_the_tokenizer_is_the_same_every_time(tokenizer_folder: Path) -> None:
    before = (tokenizer_folder / "tokenizer.json").read_bytes()
    train_tokenizer(Workspace(tokenizer_folder.parent), RECIPE)
    assert (tokenizer_folder / "tokenizer.json").read_bytes() == before
