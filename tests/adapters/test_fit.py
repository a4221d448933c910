"""Adapters that fit are read in every spelling; what does not fit is refused in one sentence that lists it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mezzotint.adapters.fit import Adapter, fit_adapter
from mezzotint.adapters.module_names import Target
from mezzotint.errors import MezzotintError
from tests.adapters.made import ALPHA, RANK, kohya, make, save

Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
K = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
FC = "text_model.encoder.layers.0.mlp.fc1"
SHAPES = {Q: (16, 16), K: (16, 24)}
PARAMETERS = {
    "unet": {f"{name}.weight": shape for name, shape in SHAPES.items()},
    "text_encoder": {f"{FC}.weight": (32, 8)},
}


def fit(path: Path) -> Adapter:
    return fit_adapter(path, PARAMETERS, "stable-diffusion")


def refusal(path: Path) -> str:
    with pytest.raises(MezzotintError) as error:
        fit(path)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


PEFT = {"lora_up.weight": ".lora_B.weight", "lora_down.weight": ".lora_A.weight"}
NAMED_PEFT = {"lora_up.weight": ".lora_B.default.weight", "lora_down.weight": ".lora_A.default.weight"}
OLD = {"lora_up.weight": "_lora.up.weight", "lora_down.weight": "_lora.down.weight"}


@pytest.mark.parametrize(
    ("named", "ends"),
    [
        (lambda module: f"unet.{module}", PEFT),
        (lambda module: f"base_model.model.unet.{module}", NAMED_PEFT),
        (lambda module: module.replace("attn2.", "attn2.processor."), OLD),
    ],
)
def test_the_spellings_of_diffusers_and_peft(named: Callable[[str], str], ends: dict[str, str], tmp_path: Path) -> None:
    made = make("lora without alpha", SHAPES)
    adapter = fit(save(tmp_path / "one.safetensors", made, named, lambda kind: ends[kind]))
    for module, one in made.items():
        delta = adapter.changes[Target(part="unet", module=module)].delta()
        np.testing.assert_allclose(delta, one.delta.float().numpy(), atol=1e-5)


def test_a_file_of_torch_save(tmp_path: Path) -> None:
    made = make("lora", SHAPES)
    tensors = {
        f"lora_unet_{module.replace('.', '_')}.{end}": t
        for module, one in made.items()
        for end, t in one.factors.items()
    }
    torch.save(tensors, tmp_path / "old.pt")
    assert len(fit(tmp_path / "old.pt").changes) == len(SHAPES)
    torch.save({**tensors, "more": Path("/")}, tmp_path / "odd.pt")
    assert "no code in a pickle is run" in refusal(tmp_path / "odd.pt")


def test_pefts_magnitudes_are_of_outputs(tmp_path: Path) -> None:
    """(O,), where LyCORIS has (O, 1)."""
    made = make("dora", SHAPES)
    ends = {**PEFT, "dora_scale": ".lora_magnitude_vector", "alpha": ".alpha"}
    flat = {
        f"unet.{module}{ends[kind]}": t.flatten() if kind == "dora_scale" else t
        for module, one in made.items()
        for kind, t in one.factors.items()
    }
    save_file(flat, tmp_path / "dora.safetensors")
    adapter = fit(tmp_path / "dora.safetensors")
    assert adapter.forms == ("LoRA", "DoRA")
    weight = torch.randn(16, 24)
    expected = made[K].merged(weight).numpy()
    np.testing.assert_allclose(
        adapter.changes[Target(part="unet", module=K)].merged(weight.numpy(), 1.0), expected, atol=1e-5
    )


@pytest.mark.parametrize("beside", [False, True])
def test_scales_that_stand_in_a_config(beside: bool, tmp_path: Path) -> None:
    """rs-LoRA: alpha / sqrt(rank); a pattern for one module. In diffusers' metadata, or in PEFT's config."""
    made = make("lora without alpha", SHAPES)
    config: dict[str, Any] = {"r": RANK, "lora_alpha": 3, "use_rslora": True, "alpha_pattern": {"attn2.to_k": 5.0}}
    path = tmp_path / "adapter_model.safetensors"
    if beside:
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        save(path, made, lambda module: f"base_model.model.{module}", lambda kind: PEFT[kind])
    else:
        metadata = {"lora_adapter_metadata": {f"unet.{name}": value for name, value in config.items()}}
        save(path, made, lambda module: f"unet.{module}", lambda kind: PEFT[kind], metadata)
    adapter = fit(path)
    factors = {target.module: change.factor for target, change in adapter.changes.items()}
    assert factors == {Q: 3 / RANK**0.5, K: 5 / RANK**0.5}


def test_two_names_of_one_module(tmp_path: Path) -> None:
    """The one of the latent diffusion code gives way, as in diffusers; two others are a fault."""
    original = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k"
    parameters = {"unet": {f"{K}.weight": (16, 24), "down_blocks.0.resnets.0.conv1.weight": (8, 8, 3, 3)}}
    made, other = make("lora", {K: (16, 24)}), make("lora", {K: (16, 24)}, seed=1)
    both = {f"lora_unet_{K.replace('.', '_')}.{kind}": t for kind, t in made[K].factors.items()}
    both |= {f"{original}.{kind}": t for kind, t in other[K].factors.items()}
    save_file(both, tmp_path / "both.safetensors")
    (change,) = fit_adapter(tmp_path / "both.safetensors", parameters, "it").changes.values()
    np.testing.assert_allclose(change.delta(), made[K].delta.float().numpy(), atol=1e-5)
    both = {
        f"{prefix}{K.replace('.', '_')}.{kind}": t.clone()
        for prefix in ("lora_unet_", "lycoris_")
        for kind, t in made[K].factors.items()
    }
    save_file(both, tmp_path / "twice.safetensors")
    assert "2 names" in refusal(tmp_path / "twice.safetensors")


def test_names_without_a_module_are_listed(tmp_path: Path) -> None:
    made = make("lora", {**SHAPES, **{f"mid_block.{index}": (4, 4) for index in range(5)}})
    message = refusal(save(tmp_path / "one.safetensors", made, kohya("lora_unet_")))
    assert "has 5 names, of 7" in message
    assert "lora_unet_mid_block_0, lora_unet_mid_block_1, lora_unet_mid_block_2 and 2 more" in message


@pytest.mark.parametrize(
    ("key", "kin"),
    [
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "Stable Diffusion XL"),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv", "Stable Diffusion 3"),
        ("transformer.single_transformer_blocks.0.attn.to_q", "Flux"),
    ],
)
def test_files_for_another_family_are_told(key: str, kin: str, tmp_path: Path) -> None:
    made = make("lora", {key: (16, 16)})
    assert kin in refusal(save(tmp_path / "one.safetensors", made, lambda module: module))


def test_shapes_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    made = make("lora", {Q: (16, 16), K: (16, 768)})
    message = refusal(save(tmp_path / "one.safetensors", made, kohya("lora_unet_")))
    assert "in 1 of 2 modules" in message
    assert "lora_down 4x768" in message
    assert "is 16x24 and has" in message
    assert "Stable Diffusion 1" in message


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"lora_up.weight": (16, 4)}, "no known form"),
        ({"lora_up.weight": (16, 4), "lora_down.weight": (3, 24)}, "is 16x24 and has"),
        ({"lora_up.weight": (16, 0), "lora_down.weight": (0, 24)}, "is 16x24 and has"),
        ({"lora_up.weight": (16,), "lora_down.weight": (4, 24)}, "is 16x24 and has"),
        ({"lora_up.weight": (16, 4), "lora_down.weight": (4, 24), "hada_w1_a": (2, 2)}, "no known form"),
        ({"lora_up.weight": (16, 4), "lora_down.weight": (4, 24), "dora_scale": (3, 1)}, "is 16x24 and has"),
        ({"lora_up.weight": (16, 4), "lora_down.weight": (4, 24), "diff_b": (16,)}, "is 16x24 and has"),
        ({"lora_up.weight": (16, 4), "lora_down.weight": (4, 24), "alpha": (2,)}, "expected one number"),
        ({"lokr_w1": (4, 4), "lokr_w2": (4, 5)}, "is 16x24 and has"),
        ({"lokr_w1": (4, 4), "lokr_w2_a": (4, 2)}, "no known form"),
        (
            {"hada_w1_a": (16, 2), "hada_w1_b": (2, 24), "hada_w2_a": (16, 2), "hada_w2_b": (2, 23)},
            "is 16x24 and has",
        ),
        ({"diff": (16, 23)}, "is 16x24 and has"),
        ({"something": (1,)}, "has 1 names"),
    ],
)
def test_odd_factors_are_refused(factors: dict[str, tuple[int, ...]], words: str, tmp_path: Path) -> None:
    names = {f"lora_unet_{K.replace('.', '_')}.{kind}": torch.ones(shape) for kind, shape in factors.items()}
    good = {f"lora_unet_{Q.replace('.', '_')}.{kind}": t for kind, t in make("lora", {Q: (16, 16)})[Q].factors.items()}
    save_file({**names, **good}, tmp_path / "odd.safetensors")
    assert words in refusal(tmp_path / "odd.safetensors")


def test_what_holds_no_adapter_is_refused(tmp_path: Path) -> None:
    save_file({"some.weight": torch.ones(2)}, tmp_path / "weights.safetensors")
    assert "some.weight" in refusal(tmp_path / "weights.safetensors")


def test_numbers_that_are_none_are_refused_where_they_are_used(tmp_path: Path) -> None:
    made = make("lora", {Q: (16, 16)})
    made[Q].factors["lora_up.weight"][3, 1] = float("nan")
    (change,) = fit(save(tmp_path / "nan.safetensors", made, kohya("lora_unet_"))).changes.values()
    with pytest.raises(MezzotintError, match=r"nan\.safetensors.*not finite"):
        change.merged(np.zeros((16, 16), dtype=np.float32), 1.0)


def test_the_text_encoders_names(tmp_path: Path) -> None:
    made = make("lora", {FC: (32, 8)})
    for prefix in ("lora_te_", "lora_te1_"):
        (target,) = fit(save(tmp_path / "te.safetensors", made, kohya(prefix))).changes
        assert target == Target(part="text_encoder", module=FC)
    assert ALPHA / RANK == 0.5
