"""`mezzotint lora`, `mezzotint embedding`, and adapters in `generate`, as typed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mezzotint.runtime import Bundle, read_settings
from tests.adapters.made import kohya, make, save
from tests.cli.conftest import Cli

SHAPES = {"mid_block.resnets.0.conv1": (64, 64, 3, 3)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "style.safetensors", make("lora", SHAPES), kohya("lora_unet_"))


def test_weights_then_branches_then_an_image(file: Path, tiny_bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("lora", tiny_bundle.path, f"{file}:0.5", "-o", "fused")
    assert code == 0, err
    assert "with style.safetensors at scale 0.5 (LoRA" in out
    code, out, err = cli("lora", tiny_bundle.path, file, "--live", "-o", "live", "--json")
    assert code == 0, err
    assert '"name": "style"' in out
    image = ("generate", "live", "a leaf", "--lora", "style:0.5", "--steps", "2", "-o", "a.png")
    code, _, err = cli(*image, "--backend", "onnxruntime")
    assert code == 0, err
    assert read_settings(tmp_path / "a.png").loras == {"style": 0.5}
    code, out, _ = cli("inspect", "live")
    assert code == 0
    assert "live adapter style (LoRA, rank 4" in out


def test_words(tiny_bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    save_file({"emb_params": torch.zeros(2, 32)}, tmp_path / "cat.safetensors")
    code, out, err = cli("embedding", tiny_bundle.path, f"{tmp_path / 'cat.safetensors'}:<cat>", "-o", "out")
    assert code == 0, err
    assert "knows <cat> (2 vectors, cat.safetensors" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["lora", "BUNDLE", "none.safetensors", "-o", "out"], "none.safetensors is not a file"),
        (["lora", "BUNDLE", "FILE:nan", "-o", "out"], "-100 to 100"),
        (["lora", "BUNDLE", "FILE", "--rank", "4", "-o", "out"], "--rank is for --live"),
        (["embedding", "BUNDLE", "none.pt", "-o", "out"], "FILE:WORD"),
        (["embedding", "BUNDLE", "FILE", "-o", "out"], "tensors"),
        (["generate", "BUNDLE", "a", "--lora", "style:x", "-o", "out.png"], "NAME:SCALE"),
        (["generate", "BUNDLE", "a", "--lora", "style:1", "--lora", "style:2", "-o", "out.png"], "twice"),
        (["generate", "BUNDLE", "a", "--lora", "style", "-o", "out.png", "--backend", "onnxruntime"], "expected none"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    options: list[str], words: str, file: Path, tiny_bundle: Bundle, cli: Cli, tmp_path: Path
) -> None:
    typed = [one.replace("FILE", str(file)) if one.startswith("FILE") else one for one in options]
    code, _, err = cli(*(str(tiny_bundle.path) if one == "BUNDLE" else one for one in typed))
    assert code == 2
    assert words in err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.png").exists()
