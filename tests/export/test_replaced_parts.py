"""A UNet, VAE or text encoder from elsewhere takes the place of a checkpoint's own, where it fits."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, LatentSpaceWarning, Origins, export_checkpoint
from mezzotint.export.checkpoint import load_parts
from mezzotint.export.files.loaded_checkpoint import Checkpoint
from mezzotint.export.find_parts import find_parts
from tests.export.single_files.ldm import State, beside, ldm_clip, ldm_unet, ldm_vae, open_clip, with_ema
from tests.export.small_vaes import PUBLISHED_MSE, save_kl, save_tiny

UNET_FILE = "diffusion_pytorch_model.safetensors"


def load(model: Path, scratch: Path, origins: Origins) -> Checkpoint:
    """What an export would load."""
    scratch.mkdir()
    folder = None if model.is_file() else model
    return load_parts(find_parts(str(model), folder, None, origins, Chosen(), scratch))


def refusal(model: Path, scratch: Path, origins: Origins) -> str:
    with pytest.raises(MezzotintError) as error:
        load(model, scratch, origins)
    message = str(error.value)
    assert str(scratch) not in message
    return message


def origin(part: str, path: Path) -> Origins:
    return Origins(**{part: path})  # type: ignore[arg-type]  # which are all paths


def other(module: Any) -> Any:
    """A module of the same config with other weights."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        kind = type(module)
        return kind(module.config) if isinstance(module, PreTrainedModel) else kind.from_config(module.config)


def check_weights(got: Any, expected: Any) -> None:
    state = got.state_dict()
    assert state.keys() == expected.state_dict().keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.state_dict().items())


NAMINGS: dict[str, tuple[str, Any]] = {
    "whole file's names": ("unet", ldm_unet),
    "without prefix": ("unet", lambda unet: ldm_unet(unet, "")),
    "behind diffusion_model": ("unet", lambda unet: ldm_unet(unet, "diffusion_model.")),
    "diffusers' names": ("unet", lambda unet: unet.state_dict()),
    "diffusers' behind unet": ("unet", lambda unet: {f"unet.{key}": one for key, one in unet.state_dict().items()}),
    "first_stage_model": ("vae", ldm_vae),
    "a VAE's without prefix": ("vae", lambda vae: ldm_vae(vae, "")),
    "diffusers' VAE": ("vae", lambda vae: vae.state_dict()),
    "attention before 0.13": ("vae", lambda vae: old_attention(vae.state_dict())),
    "CLIP's names": ("text_encoder", lambda text: ldm_clip(text, "")),
    "CLIP's of 2022, beside a projection": (
        "text_encoder",
        lambda text: {**ldm_clip(text, "", inner=""), "text_projection.weight": torch.eye(32)},
    ),
    "OpenCLIP's": ("text_encoder", lambda text: open_clip(text, "")),
    "cond_stage_model": ("text_encoder", ldm_clip),
}


def old_attention(state: State) -> State:
    """As diffusers named a VAE's attention in 2022."""
    names = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    renamed: State = {}
    for key, tensor in state.items():
        new = next((key.replace(own, old) for own, old in names.items() if f".attentions.0.{own}" in key), key)
        renamed[new] = tensor
    return renamed


@pytest.mark.filterwarnings("ignore::mezzotint.export.latent_space.LatentSpaceWarning")
@pytest.mark.parametrize("naming", NAMINGS)
def test_a_file_of_one_part_in_any_naming(
    naming: str, tiny_checkpoint: Path, tiny_modules: dict[str, Any], tmp_path: Path
) -> None:
    part, write = NAMINGS[naming]
    new = other(tiny_modules[part])
    path = tmp_path / "part.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in write(new).items()}, path)
    checkpoint = load(tiny_checkpoint, tmp_path / "scratch", origin(part, path))
    check_weights(checkpoint.modules[part], new)
    kept = "vae" if part == "unet" else "unet"
    check_weights(checkpoint.modules[kept], tiny_modules[kept])
    assert (checkpoint.replaced[part].name, checkpoint.replaced[part].sha256) == ("part.safetensors", sha256_of(path))
    assert kept not in checkpoint.replaced


def test_a_single_file_without_vae_and_text_encoder(
    tiny_state: State, tiny_checkpoint: Path, tiny_modules: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "pruned.safetensors"
    save_file({key: tensor for key, tensor in tiny_state.items() if key.startswith("model.")}, path)
    origins = Origins(config=tiny_checkpoint, vae=tiny_checkpoint, text_encoder=tiny_checkpoint / "text_encoder")
    checkpoint = load(path, tmp_path / "scratch", origins)
    for name, module in tiny_modules.items():
        check_weights(checkpoint.modules[name], module)
    assert sorted(checkpoint.replaced) == ["text_encoder", "vae"]
    assert checkpoint.replaced["text_encoder"].name == "checkpoint"


def test_a_folder_brings_its_config(tiny_checkpoint: Path, tmp_path: Path) -> None:
    vae = save_kl(tmp_path / "sd-vae-ft-mse")
    whole = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    config = json.loads((whole / "vae" / "config.json").read_text())
    assert config["sample_size"] != PUBLISHED_MSE["sample_size"]
    checkpoint = load(whole, tmp_path / "scratch", Origins(vae=vae))
    assert checkpoint.configs["vae"]["sample_size"] == PUBLISHED_MSE["sample_size"]
    assert checkpoint.configs["vae"]["scaling_factor"] == 0.18215
    assert checkpoint.replaced["vae"].latent_scale == pytest.approx(config["scaling_factor"])


def test_a_folder_of_several_variants_leaves_the_choice_open(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """`--variant` is of the checkpoint, and would not make it."""
    unet = shutil.copytree(tiny_checkpoint / "unet", tmp_path / "unet")
    for variant in ("bf16", "fp16"):
        shutil.copyfile(unet / UNET_FILE, (unet / UNET_FILE).with_suffix(f".{variant}.safetensors"))
    (unet / UNET_FILE).unlink()
    message = refusal(tiny_checkpoint, tmp_path / "scratch", Origins(unet=unet))
    assert "bf16, fp16" in message
    assert "--variant" not in message


def test_a_folder_without_a_vae_of_its_own(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    shutil.rmtree(whole / "vae")
    checkpoint = load(whole, tmp_path / "scratch", Origins(vae=save_kl(tmp_path / "sd-vae-ft-mse")))
    assert checkpoint.replaced["vae"].latent_scale is None


def test_a_tiny_autoencoder(tiny_checkpoint: Path, tmp_path: Path) -> None:
    vae = save_tiny(tmp_path / "taesd")
    checkpoint = load(tiny_checkpoint, tmp_path / "scratch", Origins(vae=vae))
    assert type(checkpoint.modules["vae"]).__name__ == "AutoencoderTiny"
    assert checkpoint.index.of_bundle("StableDiffusionPipeline")["vae"] == ["diffusers", "AutoencoderTiny"]


def test_whether_to_force_a_vae_is_of_a_vae_that_was_given(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert "--vae" in refusal(tiny_checkpoint, tmp_path / "scratch", Origins(force_vae=True))


def test_a_vae_of_other_latents_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    xl = save_kl(tmp_path / "sdxl-vae", {**PUBLISHED_MSE, "scaling_factor": 0.13025})
    message = refusal(tiny_checkpoint, tmp_path / "scratch", Origins(vae=xl))
    assert "0.13025" in message
    assert "--force-vae" in message
    load(tiny_checkpoint, tmp_path / "forced", Origins(vae=xl, force_vae=True))


def test_a_vae_of_other_sizes_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    wide = save_tiny(tmp_path / "taesd3", latent_channels=16)
    assert "16 latent channels" in refusal(tiny_checkpoint, tmp_path / "scratch", Origins(vae=wide))


def test_a_file_of_a_vae_may_be_of_any_latents(
    tiny_checkpoint: Path, tiny_modules: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "vae.safetensors"
    save_file(ldm_vae(tiny_modules["vae"]), path)
    with pytest.warns(LatentSpaceWarning, match="nothing tells"):
        load(tiny_checkpoint, tmp_path / "scratch", Origins(vae=path))
    named = shutil.copy(path, tmp_path / "sdxl_vae.safetensors")
    if json.loads((tiny_checkpoint / "vae" / "config.json").read_text())["scaling_factor"] == 0.18215:
        assert "0.13025" in refusal(tiny_checkpoint, tmp_path / "named", Origins(vae=Path(named)))


@pytest.mark.parametrize(
    ("part", "file", "word"),
    [
        ("vae", "unet", "is a UNet alone, expected a vae alone"),
        ("unet", "vae", "is a VAE alone, expected a unet alone"),
        ("unet", "nowhere", "does not exist"),
        ("vae", "text_encoder", "holds no vae"),
    ],
)
def test_something_else_is_refused_by_its_name(
    part: str, file: str, word: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    paths = {
        "unet": tiny_checkpoint / "unet" / UNET_FILE,
        "vae": tiny_checkpoint / "vae" / UNET_FILE,
        "nowhere": tmp_path / "nowhere",
        "text_encoder": tmp_path,
    }
    assert word in refusal(tiny_checkpoint, tmp_path / "scratch", origin(part, paths[file]))


@pytest.mark.filterwarnings("ignore::mezzotint.export.latent_space.LatentSpaceWarning")
def test_a_part_of_a_whole_checkpoint(tiny_checkpoint: Path, tiny_state: State, tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    save_file(with_ema(tiny_state), path)
    checkpoint = load(tiny_checkpoint, tmp_path / "scratch", Origins(vae=path, unet=path))
    own = load(tiny_checkpoint, tmp_path / "own", Origins())
    for part in ("vae", "unet"):
        check_weights(checkpoint.modules[part], own.modules[part])
    plain = load(tiny_checkpoint, tmp_path / "plain", Origins(unet=path, weights="plain")).modules["unet"].state_dict()
    for key, tensor in own.modules["unet"].state_dict().items():
        assert torch.equal(plain[key], beside(tensor))


def test_keys_that_do_not_belong_are_listed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "unet.safetensors"
    weights = load_file(tiny_checkpoint / "unet" / UNET_FILE)
    save_file(weights | {"extra.weight": torch.ones(1)}, path)
    messages = [refusal(tiny_checkpoint, tmp_path / "surplus", Origins(unet=path))]
    save_file({key: one for key, one in weights.items() if key != "conv_out.bias"}, path)
    messages.append(refusal(tiny_checkpoint, tmp_path / "missing", Origins(unet=path)))
    save_file(weights | {"conv_in.bias": torch.ones(7)}, path)
    messages.append(refusal(tiny_checkpoint, tmp_path / "shape", Origins(unet=path)))
    for message, key in zip(messages, ("extra.weight", "conv_out.bias", "conv_in.bias"), strict=True):
        assert key in message
        assert "--config" not in message  # which is for a whole checkpoint in one file


def test_the_manifest_says_what_was_replaced(
    tiny_checkpoint: Path, tiny_bundle: Bundle, traced_before: None, unchecked: None, tmp_path: Path
) -> None:
    del traced_before, unchecked
    vae = save_kl(tmp_path / "sd-vae-ft-mse")
    bundle = export_checkpoint(str(tiny_checkpoint), tmp_path / "bundle", origins=Origins(vae=vae))
    manifest = bundle.manifest
    assert manifest.replaced["vae"].name == "sd-vae-ft-mse"
    assert manifest.source.sha256 != tiny_bundle.manifest.source.sha256  # of the parts that are left
    assert "sd-vae-ft-mse" in (bundle.path / "README.md").read_text()
    assert Bundle.open(bundle.path).manifest == manifest
