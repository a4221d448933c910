"""What is not a whole Stable Diffusion checkpoint is refused in one sentence, before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint

Weights = dict[str, Array]
TEXT_WEIGHTS = "text_encoder/model.safetensors"
A_WEIGHT = "encoder.layers.0.mlp.fc1.weight"  # behind a prefix that depends on the version of transformers


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint to be spoiled."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


def change_weights(path: Path, change: Callable[[Weights], Weights]) -> None:
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def refusal(model: Path | str, tmp_path: Path) -> str:
    """The sentence that `export_checkpoint` refuses with; nothing may have been written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MezzotintError) as error:
        export_checkpoint(str(model), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
    assert error.value.exit_code == 2
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_weight_is_named(copy: Path, tmp_path: Path) -> None:
    change_weights(copy / TEXT_WEIGHTS, lambda weights: {k: v for k, v in weights.items() if not k.endswith(A_WEIGHT)})
    message = refusal(copy, tmp_path)
    assert "text_encoder" in message
    assert "missing" in message
    assert A_WEIGHT in message


def test_an_unexpected_weight_is_named(copy: Path, tmp_path: Path) -> None:
    def extend(weights: Weights) -> Weights:
        name = next(name for name in weights if name.endswith(A_WEIGHT))
        return weights | {name.replace("fc1", "fc9"): np.ones(3, np.float32)}

    change_weights(copy / TEXT_WEIGHTS, extend)
    message = refusal(copy, tmp_path)
    assert "unexpected weights, the first is" in message
    assert A_WEIGHT.replace("fc1", "fc9") in message


def test_names_of_another_version_are_not_taken_for_random_weights(copy: Path) -> None:
    """transformers 5 saves a text encoder without the prefix of 4, which only warns and goes on with random numbers."""

    def rename(weights: Weights) -> Weights:
        has_prefix = all(name.startswith("text_model.") for name in weights)
        return {k.removeprefix("text_model.") if has_prefix else f"text_model.{k}": v for k, v in weights.items()}

    change_weights(copy / TEXT_WEIGHTS, rename)
    try:
        loaded = load_checkpoint(str(copy)).modules["text_encoder"]
    except MezzotintError as error:
        assert "text_encoder" in str(error)  # refused by versions that do not know the names
    else:
        kept = load_file(copy / TEXT_WEIGHTS)
        read = {name: parameter.detach().numpy() for name, parameter in loaded.named_parameters()}
        (expected,), (got,) = ([v for k, v in weights.items() if k.endswith(A_WEIGHT)] for weights in (kept, read))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_weight_of_another_shape_is_refused(part: str, copy: Path, tmp_path: Path) -> None:
    def shorten(weights: Weights) -> Weights:
        name = next(name for name in sorted(weights) if name.endswith("conv_in.weight"))
        return weights | {name: np.ascontiguousarray(weights[name][:-1])}

    change_weights(copy / part / "diffusion_pytorch_model.safetensors", shorten)
    assert f"{copy / part}" in refusal(copy, tmp_path)


@pytest.mark.parametrize("name", ["text_encoder", "unet", "vae", "scheduler", "tokenizer"])
def test_a_missing_folder_is_named(name: str, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / name)
    assert name in refusal(copy, tmp_path)


def test_missing_weight_files_are_named(copy: Path, tmp_path: Path) -> None:
    (copy / TEXT_WEIGHTS).unlink()
    message = refusal(copy, tmp_path)
    assert f"{copy}/text_encoder has no weights" in message
    assert "model.fp16.safetensors" in message


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_weight_files_that_cannot_be_read_are_named(content: bytes, copy: Path, tmp_path: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(content)
    message = refusal(copy, tmp_path)
    assert message.startswith(f"{path} is ")
    assert message.endswith("; download it again")


@pytest.mark.parametrize("name", [TEXT_WEIGHTS, "tokenizer/vocab.json", "unet/config.json"])
def test_a_clone_without_its_large_files(name: str, copy: Path, tmp_path: Path) -> None:
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 605\n", encoding="utf-8")
    message = refusal(copy, tmp_path)
    assert message.startswith(f"{copy / name} is a git-lfs pointer")
    assert "git lfs pull" in message


@pytest.mark.parametrize("content", ["", "[]", "{", '{"_class_name": null}'])
def test_a_broken_index_is_named(content: str, copy: Path, tmp_path: Path) -> None:
    (copy / "model_index.json").write_text(content, encoding="utf-8")
    message = refusal(copy, tmp_path)
    assert str(copy) in message
    assert "expected a" in message


def test_another_family_is_refused_by_its_name(copy: Path, tmp_path: Path) -> None:
    change_json(copy / "model_index.json", _class_name="FluxPipeline")
    message = refusal(copy, tmp_path)
    assert "is a FluxPipeline, expected a StableDiffusionPipeline" in message


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "model_index.json" in refusal(tmp_path / "empty", tmp_path)


def test_a_file_of_one_part_is_refused_by_its_name(copy: Path, tmp_path: Path) -> None:
    assert "is a text encoder alone, expected a checkpoint" in refusal(copy / TEXT_WEIGHTS, tmp_path)
    assert "is a UNet alone" in refusal(copy / "unet" / "diffusion_pytorch_model.safetensors", tmp_path)


@pytest.mark.parametrize("model", ["nowhere", "a/b/c", "./nowhere", "bad id/with space"])
def test_what_is_neither_folder_nor_hub_id(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "expected a diffusers folder, a .safetensors or .ckpt file, or a hub id" in refusal(model, tmp_path)


def test_a_hub_id_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    message = refusal("someone/some-model", tmp_path)
    assert message.startswith("someone/some-model is no local folder, and the hub gave no copy of it")
    assert "pass the folder" in message
