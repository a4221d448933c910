"""CLIP's tokenizer from its merges: files of the published sizes, and the ids that CLIP is known by."""

import hashlib
import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizerFast

from mezzotint.export.single_files.clip_tables import write_tokenizer
from mezzotint.runtime.text.tokenizer import ClipTokenizer

BOS, EOS = 49406, 49407
KNOWN = {  # of the CLIP repository's examples and of transformers' documentation
    "a diagram": (320, 22697),
    "a photo of a cat": (320, 1125, 539, 320, 2368),
    "hello world": (3306, 1002),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("clip") / "tokenizer"
    write_tokenizer(target, "!")
    return target


def test_the_files_are_those_that_are_published(folder: Path) -> None:
    merges, vocabulary = ((folder / name).read_bytes() for name in ("merges.txt", "vocab.json"))
    assert hashlib.sha256(merges).hexdigest() == "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
    assert (len(merges), len(vocabulary)) == (524_619, 1_059_962)  # bytes, in every repository of Stable Diffusion 1
    ids = json.loads(vocabulary)
    assert (len(ids), ids["<|startoftext|>"], ids["<|endoftext|>"], ids["!"]) == (49_408, BOS, EOS, 0)
    assert sorted(ids.values()) == list(range(49_408))


@pytest.mark.parametrize("text", KNOWN)
def test_texts_get_the_ids_that_clip_gives_them(text: str, folder: Path) -> None:
    theirs = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    padding = [0] * (77 - 2 - len(KNOWN[text]))
    assert theirs(text).input_ids == [BOS, *KNOWN[text], EOS]
    assert ClipTokenizer.load(folder).encode([text])[0].tolist() == [BOS, *KNOWN[text], EOS, *padding]
