"""Words that textual inversion added, of one vector and of several: what diffusers makes of the same saved folder."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTokenizer, CLIPTokenizerFast

from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.runtime import Bundle, MezzotintError, TextToImage
from mezzotint.runtime.text.tokenizer import ClipTokenizer
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.embeddings import embeddings
from tests.runtime.text.test_tokenizer import WINDOW, expected_ids

WORDS = {"<one>": 1, "<cat-toy>": 2, "sksword": 3}  # vectors of each
FIRST_ID = 4096
PIECES = (
    "<one>",
    "<cat-toy>",
    "sksword",
    "a",
    "photo of",
    ",",
    "!",
    "<cat",
    "toy>",
    "sks",
    "an apple",
    "<|endoftext|>",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint as diffusers saves it after it has learnt three words."""
    from diffusers import StableDiffusionPipeline

    folder = tmp_path_factory.mktemp("words")
    pipe = StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    generator = torch.Generator().manual_seed(0)
    for word, count in WORDS.items():
        vectors = torch.randn(count, pipe.text_encoder.config.hidden_size, generator=generator)
        torch.save({word: vectors.squeeze(0)}, folder / "learned.bin")
        pipe.load_textual_inversion(str(folder / "learned.bin"), token=word)
    pipe.save_pretrained(folder / "checkpoint")
    return folder / "checkpoint"


def as_saved(_folder: Path) -> None:
    """The added tokens stand in the config and, where transformers 4 saved it, in added_tokens.json too."""


def in_the_config_alone(folder: Path) -> None:
    (folder / "added_tokens.json").unlink(missing_ok=True)


def before_transformers_4_34(folder: Path) -> None:
    """The added tokens stand in added_tokens.json alone."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    added = {entry["content"]: int(index) for index, entry in config.pop("added_tokens_decoder").items()}
    learned = {content: index for content, index in added.items() if index >= FIRST_ID}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "added_tokens.json").write_text(json.dumps(learned))
    (folder / "tokenizer.json").unlink(missing_ok=True)


def by_the_fast_tokenizer(folder: Path) -> None:
    CLIPTokenizerFast.from_pretrained(folder).save_pretrained(folder)


FORMS = (as_saved, in_the_config_alone, before_transformers_4_34, by_the_fast_tokenizer)


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tokenizer, to be changed."""
    return Path(shutil.copytree(checkpoint / "tokenizer", tmp_path / "tokenizer"))


def prompts(count: int) -> list[str]:
    rng = random.Random(0)
    return [
        "".join(rng.choice(PIECES) + rng.choice([" ", " ", ""]) for _ in range(rng.randint(1, 8))) for _ in range(count)
    ]


def converted(texts: list[str], tokenizer: Any) -> list[str]:
    found: list[str] = TextualInversionLoaderMixin().maybe_convert_prompt(texts, tokenizer)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_prompts_are_read_as_diffusers_reads_them(form: Callable[[Path], None], folder: Path) -> None:
    form(folder)
    texts = [*WORDS, "a <cat-toy> on a table", "<cat-toy>_1", "<cat-toy> <cat-toy>_1", *prompts(200)]
    ids = ClipTokenizer.load(folder).encode(texts)
    for kind in (CLIPTokenizer, CLIPTokenizerFast):
        oracle = kind.from_pretrained(folder)
        np.testing.assert_array_equal(ids, expected_ids(oracle, converted(texts, oracle)))
    learned = ids[0 : len(WORDS), 1:4].tolist()
    end = ids[0, -1]
    assert learned == [
        [FIRST_ID, end, end],
        [FIRST_ID + 1, FIRST_ID + 2, end],
        [FIRST_ID + 3, FIRST_ID + 4, FIRST_ID + 5],
    ]


def test_files_that_disagree_are_refused(folder: Path) -> None:
    place = folder / "added_tokens.json"
    for added in ({"<one>": FIRST_ID + 1}, {"<new>": FIRST_ID}, {"<new>": FIRST_ID + 99}, {"<|endoftext|>": 5}):
        place.write_text(json.dumps(added))
        with pytest.raises(MezzotintError, match=f"gives '{next(iter(added))}' the id".replace("|", r"\|")):
            ClipTokenizer.load(folder)
    for broken in ('{"<one>": "4096"}', '{"<one>": true}', '["<one>"]', "{"):
        place.write_text(broken)
        with pytest.raises(MezzotintError, match=r"added_tokens\.json"):
            ClipTokenizer.load(folder)


@pytest.fixture(scope="module")
def pipe(checkpoint: Path, tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TextToImage:
    from mezzotint.export import export_checkpoint
    from tests.export.tracing import tracing

    with tracing(tiny_bundle, "text_encoder"):
        bundle: Bundle = export_checkpoint(str(checkpoint), tmp_path_factory.mktemp("words-fp32") / "bundle")
    return TextToImage.load(bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def oracle(checkpoint: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(checkpoint)


@pytest.mark.parametrize("syntax", ["plain", "weighted"])
@pytest.mark.parametrize("prompt", ["a <one> on a table", "a <cat-toy> on a table", "sksword and <cat-toy>"])
def test_embeddings_are_those_of_diffusers(pipe: TextToImage, oracle: Any, prompt: str, syntax: str) -> None:
    with torch.inference_mode():
        expected = oracle.encode_prompt(prompt, "cpu", 1, False)[0].numpy()
    assert sqnr_db(expected, embeddings(pipe, [prompt], syntax)) >= 100


def test_all_vectors_of_a_word_get_its_weight(pipe: TextToImage, oracle: Any) -> None:
    with torch.inference_mode():
        plain, empty = (oracle.encode_prompt(text, "cpu", 1, False)[0].numpy() for text in ("a <cat-toy> b", ""))
    weights = np.ones((WINDOW, 1), dtype=np.float32)
    weights[2:4] = 1.3  # after BOS and "a"
    expected = empty + weights * (plain - empty)
    assert sqnr_db(expected, embeddings(pipe, ["a (<cat-toy>:1.3) b"], "weighted")) >= 100


def test_negative_prompts_too(pipe: TextToImage, checkpoint: Path) -> None:
    options: dict[str, Any] = {"steps": 4, "guidance": 6.0, "seed": 1, "negative_prompt": "<cat-toy>, sksword"}
    expected = DiffusersImages(checkpoint).text("a <cat-toy>", **options)
    assert psnr_db(expected, pipe("a <cat-toy>", **options).pixels) >= 80
