"""`mezzotint embedding`: words of textual inversion in a bundle, against diffusers with the same files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from mezzotint.adapters.embedding import GivenEmbedding, parse_embedding, read_embedding
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.quantize import add_embeddings
from mezzotint.runtime import Bundle, TextToImage
from tests.quantize.adapt.conftest import Quantized
from tests.runtime.embeddings import embeddings

WIDTH = 32
PROMPTS = ("a <cat-toy> on a table", "easy and <one>, a photo", "easy")
OPTIONS: dict[str, Any] = {"steps": 4, "guidance": 6.0, "seed": 1, "negative_prompt": "easy, <one>"}


def vectors(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """diffusers' with two vectors, its own of one in safetensors, and AUTOMATIC1111's pickle with three."""
    folder = tmp_path_factory.mktemp("words")
    torch.save({"<cat-toy>": vectors(2, 0)}, folder / "learned_embeds.bin")
    save_file({"<one>": vectors(1, 1)[0]}, folder / "one.safetensors")
    pickled = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors(3, 2)}, "name": "easy", "step": 5}
    torch.save({**pickled, "sd_checkpoint": None, "sd_checkpoint_name": None}, folder / "file.pt")
    return [folder / name for name in ("learned_embeds.bin", "one.safetensors", "file.pt")]


@pytest.fixture(scope="module")
def learned(files: list[Path], tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    given = [GivenEmbedding(path=path) for path in files]
    return add_embeddings(tiny_bundle.path, given, tmp_path_factory.mktemp("learned") / "bundle")


@pytest.fixture(scope="module")
def oracle(files: list[Path], tiny_checkpoint: Path) -> Any:
    pipe = StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    pipe.set_progress_bar_config(disable=True)
    for path in files:
        pipe.load_textual_inversion(str(path))
    return pipe


@pytest.mark.parametrize("prompt", PROMPTS)
def test_words_mean_what_they_mean_to_diffusers(prompt: str, learned: Bundle, oracle: Any) -> None:
    with torch.inference_mode():
        expected = oracle.encode_prompt(prompt, "cpu", 1, False)[0].numpy()
    pipe = TextToImage.load(learned.path, backend="onnxruntime")
    assert sqnr_db(expected, embeddings(pipe, [prompt], "plain")) >= 100


def test_images_with_negative_prompts_too(learned: Bundle, oracle: Any) -> None:
    options = dict(OPTIONS)
    generator = torch.Generator().manual_seed(options.pop("seed"))
    expected = oracle(
        PROMPTS[0],
        num_inference_steps=options["steps"],
        guidance_scale=options["guidance"],
        negative_prompt=options["negative_prompt"],
        generator=generator,
        output_type="np",
    ).images
    found = TextToImage.load(learned.path, backend="onnxruntime")(PROMPTS[0], **OPTIONS).pixels
    assert psnr_db(expected, found) >= 80


def test_the_rest_stays_as_it_is(learned: Bundle, tiny_bundle: Bundle, oracle: Any) -> None:
    assert learned.verify() >= tiny_bundle.verify()
    before = {entry.path: entry.sha256 for entry in tiny_bundle.entries()}
    changed = {entry.path for entry in learned.entries() if before.get(entry.path) != entry.sha256}
    texts = {"tokenizer/added_tokens.json", "tokenizer/tokenizer_config.json"}
    assert changed - texts == {"text_encoder/model.onnx", "text_encoder/config.json", "README.md"}
    assert learned.config("text_encoder/config.json")["vocab_size"] == len(oracle.tokenizer)
    assert [(one.word, one.vectors) for one in learned.manifest.words] == [("<cat-toy>", 2), ("<one>", 1), ("easy", 3)]
    plain = "a flat emoji of a red apple"
    images = [
        TextToImage.load(one.path, backend="onnxruntime")(plain, **{**OPTIONS, "negative_prompt": ""})
        for one in (learned, tiny_bundle)
    ]
    np.testing.assert_array_equal(images[0].pixels, images[1].pixels)


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_transformers_reads_the_tokenizer_so_too(kind: str, learned: Bundle, oracle: Any) -> None:
    from transformers import CLIPTokenizer, CLIPTokenizerFast

    tokenizer = (CLIPTokenizer if kind == "slow" else CLIPTokenizerFast).from_pretrained(learned.path / "tokenizer")
    for text in ("<cat-toy>", "<cat-toy>_1", "easy_2 <one>", "a red apple"):
        assert tokenizer(text).input_ids == oracle.tokenizer(text).input_ids


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "floor_db"), [("int8", 25), ("int4-weights", 15)])
def test_quantized_text_encoders_learn_too(
    recipe: str,
    floor_db: float,
    files: list[Path],
    quantized: Quantized,
    tiny_bundle: Bundle,
    oracle: Any,
    tmp_path: Path,
) -> None:
    given = [GivenEmbedding(path=path) for path in files]
    bundle = add_embeddings(quantized(recipe, "onnxruntime").path, given, tmp_path / "out", base=tiny_bundle.path)
    with torch.inference_mode():
        expected = oracle.encode_prompt(PROMPTS[0], "cpu", 1, False)[0].numpy()
    pipe = TextToImage.load(bundle.path, backend="onnxruntime")
    assert sqnr_db(expected, embeddings(pipe, [PROMPTS[0]], "plain")) >= floor_db


def test_the_word_may_be_another(tmp_path: Path) -> None:
    save_file({"emb_params": vectors(2, 3)}, tmp_path / "mine.safetensors")
    assert read_embedding(GivenEmbedding(path=tmp_path / "mine.safetensors")).words == ("mine", "mine_1")
    given = parse_embedding(f"{tmp_path / 'mine.safetensors'}:<yours>")
    assert read_embedding(given).words == ("<yours>", "<yours>_1")


def test_pairs_for_two_text_encoders(tmp_path: Path) -> None:
    save_file({"clip_l": vectors(2, 3), "clip_g": torch.randn(2, 40)}, tmp_path / "xl.safetensors")
    embedding = read_embedding(GivenEmbedding(path=tmp_path / "xl.safetensors"))
    assert embedding.of("text_encoder", WIDTH, 2).shape == (2, WIDTH)
    assert embedding.of("text_encoder_2", 40, 2).shape == (2, 40)
    save_file({"clip_l": vectors(2, 3), "clip_g": torch.randn(1, 40)}, tmp_path / "odd.safetensors")
    with pytest.raises(MezzotintError, match="other numbers"):
        read_embedding(GivenEmbedding(path=tmp_path / "odd.safetensors"))


@pytest.mark.parametrize(
    ("tensors", "word", "words"),
    [
        ({"emb_params": torch.zeros(2, 33)}, "<new>", "vectors of 33 numbers, expected 32"),
        ({"emb_params": torch.zeros(2, 3, 4)}, "<new>", "expected vectors"),
        ({"emb_params": torch.zeros(76, 32)}, "<new>", "at most 75"),
        ({"emb_params": torch.full((1, 32), float("nan"))}, "<new>", "not finite"),
        ({"emb_params": torch.zeros(1, 32), "b": torch.zeros(2)}, "has space", "without spaces"),
        ({"emb_params": torch.zeros(1, 32)}, "<|endoftext|>", "already"),
        (
            {"unet.q.lora_A.weight": torch.zeros(4, 32), "unet.q.lora_B.weight": torch.zeros(32, 4)},
            "<new>",
            "`mezzotint lora`",
        ),
        ({"x": torch.zeros(1), "y": torch.zeros(1)}, "<new>", "2 tensors"),
        ({"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(1, 32)}, "<new>", None),
        ({"clip_g": torch.zeros(1, 32)}, "<new>", "asks for clip_l"),
        ({"emb_params": torch.zeros(1, 32, dtype=torch.int32)}, "<new>", "expected floats"),
    ],
)
def test_what_does_not_fit_is_refused(
    tensors: dict[str, torch.Tensor], word: str, words: str | None, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "odd.safetensors")
    given = GivenEmbedding(path=tmp_path / "odd.safetensors", word=word)
    if words is None:
        assert add_embeddings(tiny_bundle.path, [given], tmp_path / "out").manifest.words
        return
    with pytest.raises(MezzotintError, match=words) as error:
        add_embeddings(tiny_bundle.path, [given], tmp_path / "out")
    assert error.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["odd.safetensors"]


def test_a_word_is_learned_once(files: list[Path], learned: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="already"):
        add_embeddings(learned.path, [GivenEmbedding(path=files[1])], tmp_path / "out")
    assert json.loads((learned.path / "tokenizer" / "added_tokens.json").read_text(encoding="utf-8"))["<one>"] >= 4096
