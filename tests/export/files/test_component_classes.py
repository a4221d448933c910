"""A component that cannot be exported is refused by its class; versions are blamed only where they are the cause."""

import json
import shutil
from pathlib import Path

import diffusers
import pytest
import transformers

from mezzotint.errors import MezzotintError
from mezzotint.export.checkpoint import load_checkpoint


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(MezzotintError) as error:
        load_checkpoint(str(folder))
    return str(error.value)


@pytest.mark.parametrize(
    ("component", "library", "name"),
    [
        ("vae", "diffusers", "AutoencoderTiny"),
        ("vae", "diffusers", "ConsistencyDecoderVAE"),
        ("vae", "diffusers", "FlaxAutoencoderKL"),
        ("unet", "diffusers", "UNet2DModel"),
        ("unet", "diffusers", "OnnxRuntimeModel"),
        ("text_encoder", "transformers", "BertModel"),
        ("text_encoder", "transformers", "CLIPTextModelWithProjection"),
        ("tokenizer", "transformers", "BertTokenizer"),
        ("unet", "hotshot_xl", "UNet2DConditionModel"),
    ],
)
def test_a_class_in_the_index(component: str, library: str, name: str, copy: Path) -> None:
    change(copy / "model_index.json", **{component: [library, name]})
    message = refusal(copy)
    for part in ("model_index.json", component, name, "version"):
        assert (part in message) == (part != "version")


@pytest.mark.parametrize("architectures", [True, 7, 1.5, "CLIPTextModel", {}, [None], None])
def test_architectures_that_name_no_class(architectures: object, copy: Path) -> None:
    change(copy / "text_encoder" / "config.json", architectures=architectures)
    assert load_checkpoint(str(copy)).modules["text_encoder"]


@pytest.mark.parametrize("entry", [[None, None], None, "AutoencoderKL", []])
def test_an_index_without_the_component(entry: object, copy: Path) -> None:
    change(copy / "model_index.json", vae=entry)
    message = refusal(copy)
    assert "names no vae, expected AutoencoderKL" in message
    assert "--vae" in message


def test_a_config_that_says_another_class_than_the_index(copy: Path) -> None:
    vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    shutil.rmtree(copy / "vae")
    vae.save_pretrained(copy / "vae")
    message = refusal(copy)
    assert str(copy / "vae" / "config.json") in message
    assert "AutoencoderTiny" in message


def test_a_text_encoder_that_is_no_clip(copy: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    shutil.rmtree(copy / "text_encoder")
    transformers.BertModel(transformers.BertConfig(vocab_size=64, **sizes)).save_pretrained(copy / "text_encoder")
    assert "BertModel, expected CLIPTextModel" in refusal(copy)


@pytest.mark.parametrize("is_newer", [False, True])
def test_versions_are_blamed_where_they_are_the_cause(is_newer: bool, copy: Path) -> None:
    """A block that the installed diffusers does not have, as a newer one might write it."""
    version = "99.1.0" if is_newer else diffusers.__version__
    change(copy / "unet" / "config.json", mid_block_type="UNetMidBlock9D", _diffusers_version=version)
    message = refusal(copy)
    assert "UNetMidBlock9D" in message
    assert ("install diffusers 99.1.0" in message) == is_newer


def test_quantized_components_are_told(copy: Path) -> None:
    change(copy / "unet" / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert "quantized" in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"<<<<<<< HEAD\n{}", b"\xff\xfe{\0}\0"])
@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae"])
def test_configs_that_cannot_be_read(component: str, content: bytes, copy: Path) -> None:
    path = copy / component / "config.json"
    path.write_bytes(content)
    assert refusal(copy).startswith(str(path))
    path.unlink()
    assert refusal(copy).startswith(f"{path} is missing")
