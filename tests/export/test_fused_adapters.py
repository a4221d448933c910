"""`export --lora`: the images of diffusers on a checkpoint whose weights torch has merged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from transformers import CLIPTextModel

from mezzotint.adapters.embedding import GivenEmbedding
from mezzotint.adapters.given import GivenAdapter, parse_given
from mezzotint.bundle.bundle import sha256_of
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.runtime import Bundle, TextToImage
from tests.adapters.made import kohya, make, save
from tests.adapters.merged import Merged, gentle
from tests.export.tracing import reweighted
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.embeddings import embeddings

PROMPT = "a flat emoji of a green leaf"
OPTIONS: dict[str, Any] = {"steps": 4, "guidance": 4.0, "seed": 5}
SCALES = (0.7, 0.4)


@pytest.fixture(scope="module")
def fused(
    tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Merged]:
    """Two files at once: kohya's LoRA of both models, and DoRA of the UNet over it."""
    folder, merged = tmp_path_factory.mktemp("fused"), Merged(tiny_checkpoint)
    unet, text = (
        gentle(make("lora", merged.shapes("unet"))),
        gentle(make("lora", merged.shapes("text_encoder"), seed=1)),
    )
    named = {**dict.fromkeys(unet, "lora_unet_"), **dict.fromkeys(text, "lora_te_")}
    first = save(folder / "style.safetensors", {**unet, **text}, lambda module: kohya(named[module])(module))
    other = gentle(make("dora", merged.shapes("unet"), seed=2))
    second = save(folder / "other.safetensors", other, kohya("lycoris_"))
    for part, made, scale in (("unet", unet, 0.7), ("text_encoder", text, 0.7), ("unet", other, 0.4)):
        merged.merge(part, made, scale)
    word = folder / "cat.safetensors"
    save_file({"<cat>": torch.randn(2, 32, generator=torch.Generator().manual_seed(3)) * 0.1}, word)
    adapters = [GivenAdapter(path=path, scale=scale) for path, scale in zip((first, second), SCALES, strict=True)]
    with reweighted(tiny_bundle):
        bundle = export_checkpoint(
            str(tiny_checkpoint), folder / "bundle", adapters=adapters, embeddings=[GivenEmbedding(path=word)]
        )
    return bundle, merged


def test_images_are_those_of_diffusers_with_merged_weights(fused: tuple[Bundle, Merged], tiny_checkpoint: Path) -> None:
    bundle, merged = fused
    found = TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, **OPTIONS).pixels
    assert psnr_db(merged.image(PROMPT, **OPTIONS), found) >= 80
    assert psnr_db(DiffusersImages(tiny_checkpoint).text(PROMPT, **OPTIONS), found) < 40


def test_the_manifest_says_what_was_added(fused: tuple[Bundle, Merged]) -> None:
    bundle, _ = fused
    first, second = bundle.manifest.fused
    assert (first.name, first.scale, first.forms) == ("style.safetensors", 0.7, ("LoRA",))
    assert (second.name, second.scale, second.forms) == ("other.safetensors", 0.4, ("LoRA", "DoRA"))
    assert first.sha256 == sha256_of(bundle.path.parent / "style.safetensors")
    assert "style.safetensors" in (bundle.path / "README.md").read_text(encoding="utf-8")
    origin = TextToImage.load(bundle.path, backend="onnxruntime").origin()
    assert origin.replaced.startswith(f"style.safetensors at 0.7 {first.sha256[:10]}; other")


def test_words_are_learned_with_them(fused: tuple[Bundle, Merged], tiny_checkpoint: Path) -> None:
    bundle, merged = fused
    parts = {"unet": merged.unet, "text_encoder": CLIPTextModel.from_pretrained(tiny_checkpoint / "text_encoder")}
    parts["text_encoder"].load_state_dict(merged.text_encoder.state_dict())  # which learns, and others are to use it
    oracle = StableDiffusionPipeline.from_pretrained(tiny_checkpoint, **parts)
    oracle.load_textual_inversion(str(bundle.path.parent / "cat.safetensors"))
    with torch.inference_mode():
        expected = oracle.encode_prompt("a <cat>, sleeping", "cpu", 1, False)[0].numpy()
    pipe = TextToImage.load(bundle.path, backend="onnxruntime")
    assert sqnr_db(expected, embeddings(pipe, ["a <cat>, sleeping"], "plain")) >= 90
    assert [(one.word, one.vectors) for one in bundle.manifest.words] == [("<cat>", 2)]
    assert bundle.config("text_encoder/config.json")["vocab_size"] == len(oracle.tokenizer)


def test_what_does_not_fit_is_refused_before_anything_is_written(tiny_checkpoint: Path, tmp_path: Path) -> None:
    made = make("lora", {"mid_block.resnets.7.conv1": (8, 8)})
    bad = save(tmp_path / "bad.safetensors", made, kohya("lora_unet_"))
    for adapters, words in (
        ([GivenAdapter(path=bad)], "no module for: lora_unet_mid_block_resnets_7_conv1"),
        ([GivenAdapter(path=bad), GivenAdapter(path=bad, scale=0.5)], "given twice"),
    ):
        with pytest.raises(MezzotintError, match=words):
            export_checkpoint(str(tiny_checkpoint), tmp_path / "out", adapters=adapters)
        assert list(tmp_path.iterdir()) == [bad]


def test_graphs_take_no_adapter_at_export(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bad = save(tmp_path / "any.safetensors", make("lora", {"conv_in": (8, 8)}), kohya("lora_unet_"))
    with pytest.raises(MezzotintError, match="--lora"):
        export_checkpoint(str(tiny_bundle.path), tmp_path / "out", adapters=[GivenAdapter(path=bad)])


def test_how_adapters_are_given(tmp_path: Path) -> None:
    file = tmp_path / "a:b.safetensors"
    file.touch()
    assert parse_given(str(file)) == GivenAdapter(path=file)
    assert parse_given(f"{file}:0.8") == GivenAdapter(path=file, scale=0.8)
    assert parse_given(f"{file}:-1") == GivenAdapter(path=file, scale=-1.0)
    for text in (
        f"{file}:nan",
        f"{file}:inf",
        f"{file}:1e9",
        f"{file}:x",
        str(tmp_path),
        str(tmp_path / "none"),
        "",
        ":",
    ):
        with pytest.raises(MezzotintError) as error:
            parse_given(text)
        assert error.value.exit_code == 2
