"""Names mean the modules that other programs take them to mean: diffusers' converter, and the latent diffusion code."""

from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lora_to_diffusers
from diffusers.models import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from mezzotint.adapters.module_names import ModuleNames, Target
from tests.adapters.made import module_weights
from tests.export.single_files.ldm import ldm_unet

_TEXT = CLIPTextConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)


@pytest.fixture(scope="module")
def unet() -> Any:
    """In XL's shape: no attention on the first level, pooled text, three levels of two resnets."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16, 24),
        layers_per_block=2,
        transformer_layers_per_block=(1, 1, 2),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
        use_linear_projection=True,
    )


@pytest.fixture(scope="module")
def text() -> Any:
    return CLIPTextModel(_TEXT)


def shapes_of(**modules: Any) -> dict[str, dict[str, tuple[int, ...]]]:
    return {part: {name: tuple(t.shape) for name, t in one.state_dict().items()} for part, one in modules.items()}


@pytest.fixture(scope="module")
def names(unet: Any, text: Any) -> ModuleNames:
    return ModuleNames.of(shapes_of(unet=unet, text_encoder=text, text_encoder_2=text))


def test_names_of_the_latent_diffusion_code_mean_its_modules(unet: Any, names: ModuleNames) -> None:
    """Which weight a name is of is told by the numbers in it."""
    modules = {weight.data_ptr(): name for name, weight in module_weights(unet).items()}
    state = ldm_unet(unet, prefix="")
    by_bytes = {
        weight.detach().numpy().tobytes(): modules[weight.data_ptr()] for weight in module_weights(unet).values()
    }
    found = {key: by_bytes[t.numpy().tobytes()] for key, t in state.items() if t.numpy().tobytes() in by_bytes}
    assert len(found) == len(modules)
    for key, module in found.items():
        owner = key.removesuffix(".weight")
        for name in (f"lora_unet_{owner.replace('.', '_')}", f"diffusion_model.{owner}"):
            meant = names.find(name)
            assert meant is not None, name
            assert meant.target == Target(part="unet", module=module)


@pytest.mark.parametrize(
    ("part", "prefix"), [("unet", "lora_unet_"), ("text_encoder", "lora_te1_"), ("text_encoder_2", "lora_te2_")]
)
def test_names_of_diffusers_converter_mean_the_same(
    part: str, prefix: str, unet: Any, text: Any, names: ModuleNames
) -> None:
    """Its old names, such as `attn1.processor.to_q_lora` and `lora_linear_layer`, too."""
    for module in module_weights(unet if part == "unet" else text):
        if part == "unet" and not ("attentions" in module or "resnets" in module):
            continue
        key = prefix + module.replace(".", "_")
        converted, _ = _convert_non_diffusers_lora_to_diffusers(
            {f"{key}.lora_down.weight": torch.zeros(1), f"{key}.lora_up.weight": torch.zeros(1)}
        )
        new = next(iter(converted)).replace("_lora.down.weight", "").replace(".lora.down.weight", "")
        new = new.replace(".lora_linear_layer.down.weight", "").replace(".down.weight", "")
        for name in (key, new, f"{part}.{module}", f"base_model.model.{part}.{module}"):
            meant = names.find(name)
            assert meant is not None, (module, name)
            assert meant.target == Target(part=part, module=module), name


def test_prefixes_of_other_trainers(names: ModuleNames) -> None:
    module = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"
    target = Target(part="unet", module=module)
    for name in (
        f"lycoris_{module.replace('.', '_')}",
        f"lycoris_unet_{module.replace('.', '_')}",
        f"base_model.model.{module}",
        module,
    ):
        meant = names.find(name)
        assert meant is not None
        assert meant.target == target, name


def test_no_name_is_guessed(names: ModuleNames) -> None:
    for name in ("lora_unet_down_blocks_9_resnets_0_conv1", "lora_unet_", "", "lora_te3_x", "unet", "text_model"):
        assert names.find(name) is None


def test_a_spelling_of_two_modules_means_neither() -> None:
    names = ModuleNames.of({"unet": {"a.b_c.weight": (1,), "a_b.c.weight": (1,)}})
    assert names.find("lora_unet_a_b_c") is None
