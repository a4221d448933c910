"""The published models are told from their sizes, at full size; what is none of them is refused by its name."""

import importlib
import json
import math
from pathlib import Path

import pytest

from mezzotint.bundle.manifest import SingleFile
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins
from mezzotint.export.checkpoint import load_parts
from mezzotint.export.files.load_module import empty_shapes
from mezzotint.export.find_parts import find_parts
from mezzotint.export.single_files import checkpoint_file
from mezzotint.export.single_files.file_kind import other_kind
from mezzotint.export.single_files.homes import IN_CHECKPOINT
from mezzotint.export.single_files.key_check import PartKeys, check_keys
from mezzotint.export.single_files.structure import STRUCTURES, find_structure
from mezzotint.export.single_files.templates import template_names, write_template
from tests.export.single_files.shapes import Shapes, published_shapes

FILE = Path("model.safetensors")
UNET = "model.diffusion_model."
CLASSES = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
}
# Numbers of tensors and of parameters, in millions, as the models' papers and cards have them.
KNOWN = {"sd1": (686, 859.5), "sd2": (686, 865.9), "sdxl": (1680, 2567.5), "sdxl-refiner": (None, 2259.5)}


def parts_of(name: str, folder: Path, shapes: Shapes) -> list[PartKeys]:
    write_template(name, folder)
    parts = []
    for part, (library, kind) in CLASSES.items():
        if (folder / part / "config.json").is_file():
            own = empty_shapes(getattr(importlib.import_module(library), kind), folder / part)
            home = next(home for home in IN_CHECKPOINT[part] if home.is_in(shapes))
            parts.append(PartKeys(part=part, shapes=own, places=home.places(own, shapes)))
    return parts


@pytest.mark.parametrize("name", template_names())
def test_a_published_model_is_told_by_its_sizes_and_has_all_keys(name: str, tmp_path: Path) -> None:
    shapes = published_shapes(name)
    assert other_kind(shapes) is None
    assert find_structure(FILE, shapes) == name.removesuffix("-v")
    check_keys(FILE, shapes, parts_of(name, tmp_path / "configs", shapes), ())


@pytest.mark.parametrize("name", KNOWN)
def test_the_unets_are_of_the_known_size(name: str) -> None:
    shapes = [shape for key, shape in published_shapes(name).items() if key.startswith(UNET)]
    tensors, millions = KNOWN[name]
    assert tensors in (None, len(shapes))
    assert sum(math.prod(shape) for shape in shapes) / 1e6 == pytest.approx(millions, abs=0.05)


def test_no_two_models_have_the_same_sizes() -> None:
    assert len(set(STRUCTURES.values())) == len(STRUCTURES)


@pytest.mark.parametrize(("channels", "name"), [(8, "InstructPix2Pix"), (5, "depth map"), (7, "upscaler")])
def test_other_inputs_are_refused_by_what_they_are_for(channels: int, name: str) -> None:
    shapes = published_shapes("sd1") | {f"{UNET}input_blocks.0.0.weight": (320, channels, 3, 3)}
    with pytest.raises(MezzotintError, match=name):
        find_structure(FILE, shapes)


def test_an_unknown_structure_asks_for_its_configs() -> None:
    shapes = published_shapes("sd1") | {f"{UNET}input_blocks.0.0.weight": (288, 4, 3, 3)}
    with pytest.raises(MezzotintError, match=r"width 288.*--config"):
        find_structure(FILE, shapes)


OTHERS = {
    "LoRA": ["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "lora_te_text_model_x.alpha"],
    "LoRA or": ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"],
    "LoRA or another": ["lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"],
    "textual inversion": ["string_to_param.*"],
    "ControlNet": ["control_model.input_blocks.0.0.weight", f"{UNET}input_blocks.0.0.weight"],
    "IP-Adapter": ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"],
    "Stable Diffusion 3": [f"{UNET}joint_blocks.0.context_block.adaLN_modulation.1.bias"],
    "Flux": ["double_blocks.0.img_attn.norm.key_norm.scale"],
    "EDM": ["edm_mean", f"{UNET}input_blocks.0.0.weight"],
    "AnimateDiff": ["down_blocks.0.motion_modules.0.temporal_transformer.norm.bias"],
    "UNet alone": ["input_blocks.0.0.weight", "out.2.bias"],
    "VAE alone": ["decoder.mid.block_1.norm1.weight", "quant_conv.weight"],
    "text encoder alone": ["text_model.embeddings.token_embedding.weight"],
    "tiny autoencoder": ["decoder.layers.0.weight"],
    "upscaler": ["conv_first.weight"],
    "another architecture": [f"{UNET}layers.0.adaLN_modulation.0.weight"],
    "none of the known kinds": ["something.weight"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_checkpoint_is_refused_by_its_name(name: str) -> None:
    kind = other_kind(OTHERS[name])
    assert kind is not None
    assert name in kind.name


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_missing_surplus_and_other_shapes_are_named(name: str, tmp_path: Path) -> None:
    shapes = published_shapes(name)
    parts = parts_of(name, tmp_path / "configs", shapes)
    key = f"{UNET}output_blocks.0.0.in_layers.2.bias"
    for spoiled, expected in (
        ({k: v for k, v in shapes.items() if k != key}, f"lacks 1 weights of the unet: {key}"),
        (shapes | {f"{key}2": (1,)}, f"1 keys that are no part .*: {key}2"),
        (shapes | {key: (7,)}, f"{key} has the shape \\[7\\]"),
    ):
        with pytest.raises(MezzotintError, match=expected):
            check_keys(FILE, spoiled, parts, ())


@pytest.mark.parametrize(("name", "gigabytes"), [("sdxl", 6.938), ("sd2", 2.607)])
def test_a_file_of_full_size_is_understood_without_reading_it(
    name: str, gigabytes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As large as it was published in FP16; the file here is a table, and a hole."""
    monkeypatch.setattr(checkpoint_file, "sha256_of", lambda _path: "0" * 64)
    path, table, end = tmp_path / "model.safetensors", {}, 0
    for key, shape in published_shapes(name).items():
        start, end = end, end + 2 * math.prod(shape)
        table[key] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(table).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)
    assert path.stat().st_size / 1e9 == pytest.approx(gigabytes, abs=0.001)
    (tmp_path / "scratch").mkdir()
    checkpoint = load_parts(find_parts(str(path), None, None, Origins(), Chosen(), tmp_path / "scratch"))
    assert checkpoint.source.single_file == SingleFile(structure=name, weights="plain")
    assert checkpoint.geometry.native_side_pixels == (1024 if name == "sdxl" else 512)
