"""Token ids against transformers' CLIP tokenizers, on fuzzed text and in every form of the files.

CLIP's own vocabulary is not in the repository. A slow test reads it from the package open_clip, or from the file that
MEZZOTINT_CLIP_VOCABULARY names: bpe_simple_vocab_16e6.txt.gz, as the wheel of open-clip-torch carries it.
"""

import gzip
import importlib.util
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from transformers import CLIPTokenizer, CLIPTokenizerFast

from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.tokenizer import ClipTokenizer

EMBEDDED = Path(__file__).parents[3] / "demo" / "checkpoint" / "tokenizer"
BOS, EOS, WINDOW = 4094, 4095, 32

PLAIN = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    " \t\n\r\u00a0\u2003\u3000",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "éèüßñçøåìõ",
    "привет",
    "한국어",
    "العربية",
    "😀🎨🦊🏳",
    "e\u0301\u0300\ufe0f",
    "①②½²",
    "¡¿€™“”\u2019…",
)
WORDS = ("a red apple", "it's", "WE'LL", "i've", "'tis", "<|endoftext|>", "<sks>", "</w>", "(word:1.3)", "ﬁ", "!")
# The older CLIPTokenizer differs on these: it drops what is no visible character, sets Chinese characters apart, knows
# the final sigma, and finds special tokens in other case after anything but punctuation.
FAST_ONLY = ("日本語中国", "\x00\x01\x7f\u200b\u200d\u00ad\ufeff\ufffd", "ΣςσİıſΩ")
# transformers 5 does not find them in other case at all; the runtime does what 4 does, as Stable Diffusion was trained.
FAST_ONLY_WORDS = ("<|StartOfText|>", "<|ENDOFTEXT|>") if transformers.__version__.startswith("4.") else ()


def fuzzed(count: int, seed: int, *, fast_only: bool = False) -> list[str]:
    """Random texts after a few that are empty or very long; `fast_only` adds what the older tokenizer differs on."""
    rng = random.Random(seed)
    alphabets, words = (PLAIN + FAST_ONLY, WORDS + FAST_ONLY_WORDS) if fast_only else (PLAIN, WORDS)

    def piece() -> str:
        if rng.random() < 0.3:
            return rng.choice(words)
        return "".join(rng.choices(rng.choice(alphabets), k=rng.randint(1, 6)))

    def text() -> str:
        return "".join(piece() + rng.choice(["", " "]) for _ in range(rng.choice([0, 1, 3, 8, 20, 60])))

    return ["", " ", "\n", "word " * 3000, "x" * 5000, *(text() for _ in range(count))]


def clip_vocabulary() -> Path | None:
    """The file of CLIP's merges; None where there is none."""
    stated = os.environ.get("MEZZOTINT_CLIP_VOCABULARY")
    if stated:
        return Path(stated)
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz")


def write_clip_tokenizer(vocabulary: Path, folder: Path) -> None:
    """CLIP's tokenizer files from its merges: a token for each byte, for each byte at a word's end, for each merge."""
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")
    merges = lines[1 : 1 + 49152 - 256 - 2]
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]  # written as the characters from 256 on
    characters = [chr(byte) for byte in visible] + [chr(256 + index) for index in range(len(hidden))]
    tokens = [*characters, *(f"{character}</w>" for character in characters)]
    tokens += [merge.replace(" ", "") for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    as_stable_diffusion_1(folder)


def expected_ids(oracle: Any, texts: list[str], window: int = WINDOW) -> Any:
    return np.array(oracle(texts, padding="max_length", truncation=True, max_length=window).input_ids)


def special(content: str) -> dict[str, Any]:
    """A special token as older files write it."""
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def without_tokenizer_json(folder: Path) -> None:
    (folder / "tokenizer.json").unlink(missing_ok=True)


def as_stable_diffusion_1(folder: Path) -> None:
    without_tokenizer_json(folder)
    tokens: dict[str, object] = {"bos_token": special("<|startoftext|>"), "eos_token": special("<|endoftext|>")}
    tokens |= {"unk_token": special("<|endoftext|>"), "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens))


def as_stable_diffusion_2(folder: Path) -> None:
    as_stable_diffusion_1(folder)
    tokens = json.loads((folder / "special_tokens_map.json").read_text())
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens | {"pad_token": "!"}))


def with_padding_in_tokenizer_json(folder: Path) -> None:
    backend = CLIPTokenizerFast.from_pretrained(folder).backend_tokenizer
    backend.enable_truncation(5)
    backend.enable_padding(length=9)
    backend.save(str(folder / "tokenizer.json"))


def as_transformers_4_saves_it(folder: Path) -> None:
    as_stable_diffusion_2(folder)
    saved = CLIPTokenizer.from_pretrained(folder)
    saved.save_pretrained(folder)


def with_a_learned_token(folder: Path) -> None:
    """As textual inversion leaves it."""
    without_tokenizer_json(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<sks>"])
    tokenizer.save_pretrained(folder)
    (folder / "added_tokens.json").unlink(missing_ok=True)


FORMS = (
    without_tokenizer_json,
    as_stable_diffusion_1,
    as_stable_diffusion_2,
    as_transformers_4_saves_it,
    with_padding_in_tokenizer_json,
    with_a_learned_token,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded tokenizer, to be changed."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "tokenizer"))


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_equals_the_fast_tokenizer_on_all_text(count: int) -> None:
    texts = fuzzed(count, seed=0, fast_only=True)
    ids = ClipTokenizer.load(EMBEDDED).encode(texts)
    assert ids.dtype == np.int64
    assert ids.shape == (len(texts), WINDOW)
    np.testing.assert_array_equal(ids, expected_ids(CLIPTokenizerFast.from_pretrained(EMBEDDED), texts))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_files(form: Callable[[Path], None], folder: Path) -> None:
    """The older tokenizer reads vocab.json, so that it differs from the fast one where tokenizer.json does."""
    form(folder)
    texts = fuzzed(250, seed=1)
    tokenizer = ClipTokenizer.load(folder)
    ids = tokenizer.encode(texts)
    np.testing.assert_array_equal(ids, expected_ids(CLIPTokenizerFast.from_pretrained(folder), texts))
    np.testing.assert_array_equal(ids, expected_ids(CLIPTokenizer.from_pretrained(folder), texts))


@pytest.mark.slow
def test_clips_own_vocabulary(tmp_path: Path) -> None:
    vocabulary = clip_vocabulary()
    if vocabulary is None:
        pytest.skip("CLIP's vocabulary is not here; install open-clip-torch or set MEZZOTINT_CLIP_VOCABULARY")
    write_clip_tokenizer(vocabulary, tmp_path / "clip")
    tokenizer = ClipTokenizer.load(tmp_path / "clip")
    known = tokenizer.encode(["a photo of a cat"])[0].tolist()  # the ids that OpenAI's own tokenizer gives
    assert known == [49406, 320, 1125, 539, 320, 2368] + [49407] * 71
    texts = fuzzed(10_000, seed=8, fast_only=True)
    fast = CLIPTokenizerFast.from_pretrained(tmp_path / "clip")
    np.testing.assert_array_equal(tokenizer.encode(texts), expected_ids(fast, texts, window=77))
    plain = fuzzed(2_000, seed=9)
    older = CLIPTokenizer.from_pretrained(tmp_path / "clip")
    np.testing.assert_array_equal(tokenizer.encode(plain), expected_ids(older, plain, window=77))


def test_stable_diffusion_2_pads_with_an_exclamation_mark(folder: Path) -> None:
    as_stable_diffusion_2(folder)
    ids = ClipTokenizer.load(folder).encode(["a"])[0]
    assert ids[0] == BOS
    assert ids[2:].tolist() == [EOS] + [0] * (WINDOW - 3)


def test_a_row_is_bos_text_eos_padding() -> None:
    empty, word = ClipTokenizer.load(EMBEDDED).encode(["", "a"])
    assert empty.tolist() == [BOS] + [EOS] * (WINDOW - 1)
    assert word.tolist() == [BOS, word[1]] + [EOS] * (WINDOW - 2)


def test_no_texts_give_no_rows() -> None:
    assert ClipTokenizer.load(EMBEDDED).encode([]).shape == (0, WINDOW)


def test_a_row_that_was_cut_ends_in_eos() -> None:
    texts = fuzzed(100, seed=2, fast_only=True)
    tokenizer = ClipTokenizer.load(EMBEDDED)
    lengths = [len(ids) for ids in CLIPTokenizerFast.from_pretrained(EMBEDDED)(texts).input_ids]
    assert [len(tokenizer.tokens(text)) - tokenizer.room for text in texts] == [length - WINDOW for length in lengths]
    is_cut = np.array(lengths) > WINDOW
    assert is_cut.any()
    assert (tokenizer.encode(texts)[is_cut, -1] == EOS).all()


def test_the_window_is_the_configs(folder: Path) -> None:
    change_config(folder, model_max_length=7)
    texts = fuzzed(20, seed=3)
    ids = ClipTokenizer.load(folder).encode(texts)
    np.testing.assert_array_equal(ids, expected_ids(CLIPTokenizerFast.from_pretrained(folder), texts, window=7))


def change_config(folder: Path, **options: Any) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


def test_text_that_is_not_unicode_is_an_error() -> None:
    with pytest.raises(MezzotintError, match="is not Unicode text: surrogates not allowed"):
        ClipTokenizer.load(EMBEDDED).encode(["fine", "bad \ud800"])
