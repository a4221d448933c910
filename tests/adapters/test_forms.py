"""Every form's change of a weight is what torch makes of the same factors by the form's definition."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from mezzotint.adapters.fit import fit_adapter
from mezzotint.adapters.module_names import Target
from mezzotint.decibel import sqnr_db
from tests.adapters.made import FORMS, kohya, make, save

SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (16, 16),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": (16, 24),
    "down_blocks.0.attentions.0.proj_in": (8, 16, 1, 1),
    "down_blocks.0.resnets.0.conv1": (32, 8, 3, 3),
    "conv_in": (16, 4, 3, 3),
}
PARAMETERS: Final = {"unet": {f"{name}.weight": shape for name, shape in SHAPES.items()}}


def weight_of(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(name))
    return torch.randn(SHAPES[name], generator=generator) * 0.2


@pytest.mark.parametrize("form", FORMS)
def test_a_merge_is_that_of_torch(form: str, tmp_path: Path) -> None:
    made = make(form, SHAPES)
    adapter = fit_adapter(save(tmp_path / "one.safetensors", made, kohya("lora_unet_")), PARAMETERS, "it")
    assert len(adapter.changes) == len(SHAPES)
    for scale in (1.0, -0.4):
        for name, one in made.items():
            weight = weight_of(name)
            expected = one.merged(weight, scale).numpy()
            found = adapter.changes[Target(part="unet", module=name)].merged(weight.numpy(), scale)
            assert found.dtype == np.float32
            assert sqnr_db(expected, found) >= 110, name


@pytest.mark.parametrize("form", ["lora", "dora", "dora of inputs", "full", "lokr"])
def test_a_scale_of_0_changes_nothing(form: str, tmp_path: Path) -> None:
    adapter = fit_adapter(save(tmp_path / "one.safetensors", make(form, SHAPES), kohya("lora_unet_")), PARAMETERS, "it")
    for target, change in adapter.changes.items():
        weight = weight_of(target.module).numpy()
        np.testing.assert_array_equal(change.merged(weight, 0.0), weight)


def test_biases_and_norms_are_changed_too(tmp_path: Path) -> None:
    parameters = {"unet": {"conv_norm_out.weight": (8,), "conv_norm_out.bias": (8,), "conv_in.weight": (8, 4, 3, 3)}}
    parameters["unet"]["conv_in.bias"] = (8,)
    tensors = {
        "lora_unet_conv_norm_out.w_norm": torch.arange(8.0),
        "lora_unet_conv_norm_out.b_norm": torch.arange(8.0) * 2,
        "lora_unet_conv_in.diff_b": torch.arange(8.0) * 3,
    }
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "norms.safetensors")
    adapter = fit_adapter(tmp_path / "norms.safetensors", parameters, "it")
    norm, conv = (adapter.changes[Target(part="unet", module=name)] for name in ("conv_norm_out", "conv_in"))
    ones = np.ones(8, dtype=np.float32)
    np.testing.assert_allclose(norm.merged(ones, 0.5), 1 + 0.5 * np.arange(8))
    np.testing.assert_allclose(norm.merged_bias(ones, 0.5), 1 + np.arange(8))
    np.testing.assert_allclose(conv.merged_bias(ones, 1.0), 1 + 3 * np.arange(8))
    assert (norm.changes_weight, conv.changes_weight) == (True, False)


def test_half_precision_factors_are_read(tmp_path: Path) -> None:
    made = make("lora", SHAPES)
    for name, kind in (("half", torch.float16), ("brain", torch.bfloat16)):
        from safetensors.torch import save_file

        tensors = {
            f"lora_unet_{module.replace('.', '_')}.{end}": tensor.to(kind)
            for module, one in made.items()
            for end, tensor in one.factors.items()
        }
        save_file(tensors, tmp_path / f"{name}.safetensors")
        adapter = fit_adapter(tmp_path / f"{name}.safetensors", PARAMETERS, "it")
        for module, one in made.items():
            change = adapter.changes[Target(part="unet", module=module)]
            assert sqnr_db(one.delta.float().numpy(), change.delta()) >= (60 if name == "half" else 42)
