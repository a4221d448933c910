"""Prompts to embeddings: chunks and weights against what transformers' text encoder says of the same tokens."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizerFast

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, MezzotintError, TextToImage
from tests.runtime.embeddings import embeddings

WINDOW, ROOM = 32, 30
LONG = "a red apple beside a green pear, " * 12


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


class Oracle:
    """transformers' tokenizer and text encoder."""

    def __init__(self, checkpoint: Path) -> None:
        self.tokenizer = CLIPTokenizerFast.from_pretrained(checkpoint / "tokenizer")
        self.encoder = CLIPTextModel.from_pretrained(checkpoint / "text_encoder")

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def encode(self, tokens: list[int]) -> Array:
        """(32, width) of one chunk."""
        ids = [4094, *tokens, *[4095] * (WINDOW - 1 - len(tokens))]
        with torch.inference_mode():
            embedding: Array = self.encoder(torch.tensor([ids])).last_hidden_state[0].numpy()
        return embedding


@pytest.fixture(scope="module")
def oracle(tiny_checkpoint: Path) -> Oracle:
    return Oracle(tiny_checkpoint)


def assert_close(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("syntax", ["plain", "weighted"])
def test_a_short_prompt_is_one_window(tiny: TextToImage, oracle: Oracle, syntax: str) -> None:
    for prompt in ("", "a red apple", "Ein Bär!"):
        assert_close(embeddings(tiny, [prompt], syntax)[0], oracle.encode(oracle.tokens(prompt)))


def test_a_long_weighted_prompt_is_encoded_in_chunks(tiny: TextToImage, oracle: Oracle) -> None:
    tokens = oracle.tokens(LONG)
    chunks = [tokens[at : at + ROOM] for at in range(0, len(tokens), ROOM)]
    assert len(chunks) > 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = embeddings(tiny, [LONG], "weighted")[0]
    assert_close(found, np.concatenate([oracle.encode(chunk) for chunk in chunks]))


def test_a_long_plain_prompt_is_cut_with_a_warning(tiny: TextToImage, oracle: Oracle) -> None:
    with pytest.warns(UserWarning, match=r"tokens too long; its end was cut .*'weighted' takes prompts of any length"):
        found = embeddings(tiny, [LONG])[0]
    assert_close(found, oracle.encode(oracle.tokens(LONG)[:ROOM]))


def test_adapters_in_a_plain_prompt_are_words_and_said_to_be(tiny: TextToImage, oracle: Oracle) -> None:
    prompt = "a red apple <lora:style:0.8>"
    with pytest.warns(UserWarning, match="names adapters, which the prompt syntax 'plain' reads as words"):
        found = embeddings(tiny, [prompt])[0]
    assert_close(found, oracle.encode(oracle.tokens(prompt)))


def test_break_starts_a_chunk(tiny: TextToImage, oracle: Oracle) -> None:
    expected = np.concatenate([oracle.encode(oracle.tokens(text)) for text in ("a red apple", "a pear")])
    assert_close(embeddings(tiny, ["a red apple BREAK a pear"], "weighted")[0], expected)


def test_weights_move_tokens_away_from_what_no_text_would_be(tiny: TextToImage, oracle: Oracle) -> None:
    pieces = [("a ", 1.0), ("red", 1.5), (" apple", 0.0)]
    tokens = [oracle.tokens(text) for text, _ in pieces]
    weights = np.ones((WINDOW, 1), dtype=np.float32)
    inside = [weight for ids, (_, weight) in zip(tokens, pieces, strict=True) for _ in ids]
    weights[1 : 1 + len(inside), 0] = inside
    whole, empty = oracle.encode([one for ids in tokens for one in ids]), oracle.encode([])
    found = embeddings(tiny, ["a (red:1.5)( apple:0)"], "weighted")[0]
    assert_close(found, empty + weights * (whole - empty))
    assert np.abs(found - whole).max() > 0.1


def test_a_weight_of_one_changes_nothing(tiny: TextToImage) -> None:
    np.testing.assert_array_equal(embeddings(tiny, ["a red apple"]), embeddings(tiny, ["(a red apple:1)"], "weighted"))


def test_plain_prompts_know_no_weights(tiny: TextToImage, oracle: Oracle) -> None:
    assert_close(embeddings(tiny, ["a (red:1.5) apple"])[0], oracle.encode(oracle.tokens("a (red:1.5) apple")))


def test_prompts_of_different_length_are_repeated_to_one(tiny: TextToImage) -> None:
    short, long = embeddings(tiny, ["a", LONG], "weighted")
    np.testing.assert_array_equal(short, np.tile(embeddings(tiny, ["a"])[0], (len(short) // WINDOW, 1)))
    np.testing.assert_array_equal(long, embeddings(tiny, [LONG], "weighted")[0])


def test_a_prompt_beside_a_longer_one_generates_what_it_generates_alone(tiny: TextToImage) -> None:
    """Repeated keys leave attention as it is; keys of empty padding would not."""
    batch = tiny(["a red apple", LONG], steps=3, prompt_syntax="weighted", negative_prompt="a BREAK b BREAK c")
    for index, settings in enumerate(batch.settings):
        assert psnr_db(tiny.generate(settings).pixels[0], batch.pixels[index]) > 80


def test_every_prompt_may_have_its_own_negative(tiny: TextToImage) -> None:
    batch = tiny(["a", "b"], negative_prompt=["c", "d"], steps=3)
    assert [one.negative_prompt for one in batch.settings] == ["c", "d"]
    for index, settings in enumerate(batch.settings):
        assert psnr_db(tiny.generate(settings).pixels[0], batch.pixels[index]) > 80


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("a", {"prompt_syntax": "a1111"}, "there is no prompt syntax 'a1111'; choose one of plain, weighted"),
        ("BREAK " * 40, {"prompt_syntax": "weighted"}, "fills 41 windows of tokens, expected at most 32"),
        (["a", "b"], {"negative_prompt": ["c"]}, "got 1 negative prompts for 2 prompts"),
        ("a", {"negative_prompt": "\ud800"}, "is not Unicode text"),
        ([7], {}, "the prompt 7 is int, expected text"),
        ("a", {"count": 0}, "count is 0, expected at least 1"),
        ("a", {"count": "many"}, "count is 'many', expected a whole number"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    tiny: TextToImage, prompt: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MezzotintError, match=message):
        tiny(prompt, steps=1, **options)
