"""What a denoiser adds has the shapes of what diffusers' ControlNets say at their real sizes, without the numbers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.export.families.control import residual_shapes
from mezzotint.export.families.t2i_adapter import feature_shapes
from mezzotint.families.residuals import (
    answer_of,
    block_residual_specs,
    image_multiple,
    is_block_residual,
    is_residual,
    residual_specs,
    side_at,
    side_sizes,
    uncontrolled,
    zero_residuals,
)

KINDS: dict[str, dict[str, Any]] = {
    "1.5": {"cross_attention_dim": 768},
    "xl": {
        "cross_attention_dim": 2048,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
    },
}
UNET_XL: dict[str, Any] = {
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 1, 1),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
GEOMETRY = Geometry(latent_channels=4, vae_factor=8, native_side_pixels=512, scaling_factor=0.18215, shift_factor=0.0)
SAMPLE = TensorSpec("sample", "float32", ("batch_size", 4, "height", "width"))
TEXT = TensorSpec("encoder_hidden_states", "float32", ("batch_size", "sequence_length", 8))


def component(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> Component:
    return Component((), Storage.FLOAT32, Compute.F32, inputs, outputs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (13, 22), (9, 8)])
def test_shapes_are_those_of_diffusers(kind: str, height: int, width: int) -> None:
    with torch.device("meta"):
        net: Any = ControlNetModel(**KINDS[kind])
        text = torch.empty(2, 77, KINDS[kind]["cross_attention_dim"])
        image = torch.empty(2, 3, 8 * height, 8 * width)
        down, middle = net(torch.empty(2, 4, height, width), torch.tensor(5.0), text, image, return_dict=False)
    specs = residual_specs(residual_shapes(net.config))
    found = zero_residuals(component(SAMPLE, *specs), 2, height, width)
    assert [array.shape for array in found.values()] == [tuple(one.shape) for one in (*down, middle)]
    assert not any(array.any() for array in found.values())
    assert all(is_residual(name) for name in found)


ADAPTERS: dict[str, tuple[dict[str, Any], int]] = {  # each with what it divides its image by
    "1.5": ({"adapter_type": "full_adapter", "channels": [320, 640, 1280, 1280]}, 8),
    "1.5, light": ({"adapter_type": "light_adapter", "channels": [320, 640, 1280], "in_channels": 1}, 8),
    "xl": ({"adapter_type": "full_adapter_xl", "channels": [320, 640, 1280, 1280]}, 16),
}


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (14, 22), (10, 8)])
def test_shapes_of_adapters_are_those_of_diffusers(kind: str, height: int, width: int) -> None:
    config, factor = {**ADAPTERS[kind][0], "downscale_factor": ADAPTERS[kind][1]}, ADAPTERS[kind][1]
    with torch.device("meta"):
        adapter: Any = T2IAdapter(**config)
        said = adapter(torch.empty(2, adapter.config.in_channels, 8 * height, 8 * width))
    specs = block_residual_specs(list(feature_shapes(adapter.config, GEOMETRY)))
    found = zero_residuals(component(SAMPLE, *specs), 2, height, width)
    assert [array.shape for array in found.values()] == [tuple(one.shape) for one in said]
    assert all(is_block_residual(name) and is_residual(name) for name in found)
    sides = [f"{factor}*{side_at(side, factor // 16)}" for side in ("height", "width")]
    image = TensorSpec("image", "float32", ("batch_size", 3, *sides))
    assert list(side_sizes([image], height, width).values()) == [8 * height, 8 * width]
    assert image_multiple(component(image)) == factor


@pytest.mark.parametrize("kind", ["1.5", "xl"])
def test_all_that_an_adapter_says_is_taken(kind: str) -> None:
    """By diffusers' UNet, which leaves the last one away where it has another shape than the middle."""
    config = {**ADAPTERS[kind][0], "downscale_factor": ADAPTERS[kind][1]}
    specs = block_residual_specs(list(feature_shapes(config, GEOMETRY)))
    told = [
        torch.empty(array.shape, device="meta")
        for array in zero_residuals(component(SAMPLE, *specs), 2, 14, 22).values()
    ]
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(**KINDS[kind], **(UNET_XL if kind == "xl" else {}))
        text = torch.empty(2, 77, KINDS[kind]["cross_attention_dim"])
        unet(
            torch.empty(2, 4, 14, 22),
            torch.tensor(5.0),
            text,
            added_cond_kwargs={"text_embeds": torch.empty(2, 1280), "time_ids": torch.empty(2, 6)},
            down_intrablock_additional_residuals=told,
        )
    assert told == []


def test_a_list_of_layers_is_read_as_well() -> None:
    config = {"block_out_channels": [8, 16], "layers_per_block": [1, 3]}
    assert residual_shapes(config) == [(8, 0), (8, 0), (8, 1), (16, 1), (16, 1), (16, 1), (16, 1)]


def test_sides_of_an_image_are_known_by_their_symbols() -> None:
    image = TensorSpec("image", "float32", ("batch_size", 3, "8*height", "8*width"))
    specs = residual_specs([(4, 0), (4, 2)])
    assert side_sizes([SAMPLE, image, *specs], 5, 7) == {"8*height": 40, "8*width": 56, "height_4": 2, "width_4": 2}


def test_feeds_of_another_denoiser_lose_and_gain_what_is_added() -> None:
    specs = residual_specs([(4, 0), (4, 1)])
    plain, controlled = component(SAMPLE, TEXT), component(SAMPLE, TEXT, *specs)
    feeds = {"sample": np.ones((1, 4, 5, 7), np.float32), "encoder_hidden_states": np.ones((2, 3, 8), np.float32)}
    told = uncontrolled(feeds, controlled)
    assert {name: array.shape for name, array in told.items() if is_residual(name)} == {
        specs[0].name: (2, 4, 5, 7),  # a row for each text: the latents may be there once for both halves
        specs[1].name: (2, 4, 3, 4),
    }
    assert uncontrolled(told, plain).keys() == feeds.keys()


def test_the_answer_of_a_control_net_is_all_that_it_says() -> None:
    specs = residual_specs([(2, 0), (3, 1)])
    outputs = {
        spec.name: np.full((2, *shape), index, np.float32)
        for index, (spec, shape) in enumerate(zip(specs, [(2, 4, 4), (3, 2, 2)], strict=True))
    }
    own = component(SAMPLE, outputs=specs)
    np.testing.assert_array_equal(answer_of(own, outputs), [[0.0] * 32 + [1.0] * 12] * 2)
    first = replace(own, outputs=(TensorSpec("out", "float32", ()), *specs))
    assert answer_of(first, {**outputs, "out": np.zeros(3, np.float32)}).shape == (3,)
