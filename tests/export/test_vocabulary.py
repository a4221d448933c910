"""Tokenizers that know more words than the text encoder has rows for: no engine reads what lies behind the table."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.runtime import Bundle, TextToImage

WORD, ROWS = "<cat>", 4096


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


def add_word(folder: Path) -> None:
    (folder / "tokenizer" / "added_tokens.json").write_text(json.dumps({WORD: ROWS}), encoding="utf-8")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.usefixtures("traced_before")
def test_a_word_beyond_the_table_is_an_error_where_it_is_used(backend: str, copy: Path, tmp_path: Path) -> None:
    add_word(copy)
    bundle = export_checkpoint(str(copy), tmp_path / "out")
    with TextToImage.load(bundle.path, backend=backend) as pipeline:
        assert pipeline("a photo", steps=1, seed=0).images
        with pytest.raises(MezzotintError, match=f"gives '{WORD}' the id {ROWS}, and the text encoder has {ROWS} rows"):
            pipeline(f"a photo of {WORD}", steps=1, seed=0)


def padding_with_a_word(folder: Path) -> None:
    add_word(folder)
    path = folder / "tokenizer" / "special_tokens_map.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"pad_token": WORD}), encoding="utf-8")


def fewer_rows(folder: Path) -> None:
    """Nobody trained such a text encoder: the sign of the end lies behind its table."""
    from safetensors.torch import load_file, save_file

    config, weights = folder / "text_encoder" / "config.json", folder / "text_encoder" / "model.safetensors"
    stated = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(stated | {"vocab_size": ROWS - 1, "eos_token_id": 5}), encoding="utf-8")
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("token_embedding.weight"))
    weights.unlink()
    save_file(tensors | {name: tensors[name][:-1].clone()}, weights, metadata={"format": "pt"})


@pytest.mark.parametrize("change", [padding_with_a_word, fewer_rows])
def test_signs_of_every_row_beyond_the_table_are_an_error_at_export(
    change: Callable[[Path], None], copy: Path, tmp_path: Path
) -> None:
    change(copy)
    with pytest.raises(MezzotintError, match=r"the id \d+, and the text encoder has \d+ rows"):
        export_checkpoint(str(copy), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_words_of_a_bundle_have_a_row_each(tiny_bundle: Bundle) -> None:
    config = tiny_bundle.config("text_encoder/config.json")
    with TextToImage.load(tiny_bundle.path) as pipeline:
        (tokenizer,) = pipeline.tokenizers.values()
    assert tokenizer.rows == config["vocab_size"] == ROWS
    assert max(tokenizer.backend.get_vocab().values()) < ROWS
