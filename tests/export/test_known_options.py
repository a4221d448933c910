"""Keys that change what a pipeline must do are understood, or refused by name before any weight is read."""

import inspect
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.export.families.autoencoder_tiny import TINY_OPTIONS, effective_tiny_config
from mezzotint.export.families.latent_consistency import LCM_UNET_OPTIONS
from mezzotint.export.families.stable_diffusion_options import UNET_OPTIONS, VAE_OPTIONS, check_options
from tests.export.published import PUBLISHED

HUGE = [
    ("unet", "layers_per_block", 2**70),
    ("unet", "transformer_layers_per_block", [1, 1001]),
    ("unet", "transformer_layers_per_block", [[1], [1e308]]),
    ("vae", "layers_per_block", 10_000_000),
    ("text_encoder", "num_hidden_layers", 2**31),
]
UNSUPPORTED = [
    ("unet", "time_cond_proj_dim", 256),
    ("unet", "addition_embed_type", "text_time"),
    ("unet", "class_embed_type", "projection"),
    ("unet", "class_embed_type", "identity"),
    ("unet", "num_class_embeds", 1000),
    ("unet", "encoder_hid_dim", 4096),
    ("unet", "encoder_hid_dim_type", "text_proj"),
    ("unet", "dual_cross_attention", True),
    ("unet", "attention_type", "gated"),
    ("unet", "num_attention_heads", 8),
    ("vae", "latents_mean", [0.0, 0.0, 0.0, 0.0]),
    ("vae", "latents_std", [1.0, 1.0, 1.0, 1.0]),
    ("vae", "shift_factor", 0.1159),
    ("vae", "in_channels", 1),
    ("vae", "out_channels", 6),
    ("text_encoder", "use_attention_mask", True),
    ("text_encoder", "pruned_heads", {"0": [1]}),
    *((name, "quantization_config", {"quant_method": "bitsandbytes"}) for name in ("unet", "vae", "text_encoder")),
]
MISFITS = [
    ("unet", "in_channels", 8),
    ("unet", "in_channels", 5),
    ("unet", "out_channels", 8),
    ("unet", "cross_attention_dim", 48),
    ("unet", "cross_attention_dim", [32, 64]),
    ("unet", "sample_size", None),
    ("unet", "sample_size", [8, 12]),
    ("unet", "sample_size", 0),
    ("vae", "scaling_factor", None),
    ("vae", "scaling_factor", 0.0),
    ("vae", "latent_channels", 16),
]


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint without its weights: what is refused is refused before they are read."""
    ignore = shutil.ignore_patterns("*.safetensors")
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint", ignore=ignore)


@pytest.mark.parametrize("value", [3_000_000_000, 1e300])
@pytest.mark.parametrize("key", ["max_position_embeddings", "num_labels"])
def test_lists_of_more_than_memory_are_an_error(tiny_checkpoint: Path, tmp_path: Path, key: str, value: float) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    path = copy / "text_encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises(MezzotintError, match=rf"{key} = .*, expected at most 65536"):
        export_checkpoint(str(copy), tmp_path / "out")


@pytest.mark.parametrize("value", [None, "x", 1.5, True, 0, -1, [32], int("9" * 4300)])
@pytest.mark.parametrize(("part", "key"), [("vae", "latent_channels"), ("text_encoder", "hidden_size")])
def test_widths_that_are_none(copy: Path, tmp_path: Path, part: str, key: str, value: object) -> None:
    path = copy / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises(MezzotintError, match=rf"{part}.config.json has {key} = .*expected a whole number") as error:
        export_checkpoint(str(copy), tmp_path / "out")
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(("part", "key", "value"), HUGE)
def test_more_layers_than_memory_are_an_error_before_they_are_built(
    tiny_checkpoint: Path, tmp_path: Path, part: str, key: str, value: object
) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    path = copy / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")
    with pytest.raises(MezzotintError, match=rf"{part}.config.json has {key} = .*, expected at most 1000"):
        export_checkpoint(str(copy), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def refusal(copy: Path, name: str, **values: object) -> str:
    path = copy / name / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    with pytest.raises(MezzotintError) as error:
        export_checkpoint(str(copy), copy.parent / "out")
    assert list(copy.parent.iterdir()) == [copy]
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize(("name", "key", "value"), [*UNSUPPORTED, *MISFITS])
def test_a_value_that_nothing_here_serves_is_refused_by_its_key(name: str, key: str, value: Any, copy: Path) -> None:
    message = refusal(copy, name, **{key: value})
    assert f"{name}/config.json has {key} = {value!r}" in message or key in message
    assert "expected" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_a_key_that_nobody_knows_is_refused(name: str, copy: Path) -> None:
    assert f"{name}/config.json has the key warp_drive = 9" in refusal(copy, name, warp_drive=9)


@pytest.mark.parametrize(
    ("kind", "table"),
    [(UNet2DConditionModel, UNET_OPTIONS), (AutoencoderKL, VAE_OPTIONS), (AutoencoderTiny, TINY_OPTIONS)],
    ids=["unet", "vae", "tiny vae"],
)
def test_every_option_of_diffusers_is_in_the_table(kind: Any, table: Mapping[str, object]) -> None:
    """One that a new diffusers adds has to be looked at, not passed."""
    parameters = inspect.signature(kind.__init__).parameters
    assert set(parameters) - {"self"} <= set(table)


@pytest.mark.parametrize(
    ("name", "kind", "table"),
    [
        ("unet", UNet2DConditionModel, UNET_OPTIONS),
        ("vae", AutoencoderKL, VAE_OPTIONS),
        ("vae", AutoencoderTiny, TINY_OPTIONS),
    ],
    ids=["unet", "vae", "tiny vae"],
)
def test_every_default_of_diffusers_is_supported(name: str, kind: Any, table: Mapping[str, object]) -> None:
    parameters = inspect.signature(kind.__init__).parameters
    defaults = {key: one.default for key, one in parameters.items() if key in table}
    check_options(name, {"_class_name": kind.__name__, **defaults})


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_configs_are_understood(published: str) -> None:
    one = PUBLISHED[published]
    unet = LCM_UNET_OPTIONS if one.pipeline.startswith("LatentConsistency") else UNET_OPTIONS
    check_options("unet", one.unet, unet)
    for name, stated in (("vae", one.vae), ("text_encoder", one.text)):
        check_options(name, stated)


def test_a_small_autoencoders_config_is_what_diffusers_makes_of_it() -> None:
    """The keys of taesd as it was published lack one that its constructor adds."""
    sizes = {f"{half}_block_out_channels": [16, 16] for half in ("encoder", "decoder")}
    sizes |= {f"num_{half}_blocks": [1, 2] for half in ("encoder", "decoder")}
    stated = {"_class_name": "AutoencoderTiny", "_diffusers_version": "0.30.0", "act_fn": "relu", **sizes}
    expected = {key: value for key, value in AutoencoderTiny.from_config(stated).config.items() if key[0] != "_"}
    found = {key: value for key, value in effective_tiny_config(stated).items() if key[0] != "_"}
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in expected.items()} == found


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"upsampling_scaling_factor": 4}, ("upsampling_scaling_factor = 4", "expected 2")),
        ({"decoder_block_out_channels": [16] * 3}, ("2 levels", "for 3")),
        ({"decoder_block_out_channels": None}, ("decoder_block_out_channels = None", "list")),
        ({"shift_factor": 0.1}, ("shift_factor",)),
    ],
)
def test_what_a_small_autoencoder_cannot_be(values: dict[str, Any], words: tuple[str, ...], copy: Path) -> None:
    sizes = {f"{half}_block_out_channels": [16, 16] for half in ("encoder", "decoder")}
    index = json.loads((copy / "model_index.json").read_text(encoding="utf-8"))
    index["vae"] = ["diffusers", "AutoencoderTiny"]
    (copy / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (copy / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny", **sizes}))
    message = refusal(copy, "vae", **values)
    assert [word for word in words if word not in message] == [], message


def test_null_is_off_even_for_a_key_that_nobody_knows() -> None:
    check_options("unet", {"warp_drive": None, "time_cond_proj_dim": None})


def test_what_the_averaging_of_a_training_run_notes_is_harmless() -> None:
    """diffusers' EMAModel writes its own state into the config of the model that it saves."""
    check_options("unet", {"decay": 0.9999, "optimization_step": 37000, "use_ema_warmup": False, "power": 2 / 3})


def test_a_byte_order_mark_that_diffusers_would_stumble_over_is_named(copy: Path) -> None:
    path = copy / "unet" / "config.json"
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-8-sig"))
    with pytest.raises(MezzotintError, match=r"unet.config\.json begins with a byte order mark"):
        export_checkpoint(str(copy), copy.parent / "out")
