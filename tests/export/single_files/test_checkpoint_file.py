"""A checkpoint in one file, in every form that people have it, is the checkpoint of the folder."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins, export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint, load_parts
from mezzotint.export.files.loaded_checkpoint import Checkpoint
from mezzotint.export.find_parts import find_parts
from mezzotint.export.single_files.weight_file import ForeignCodeWarning
from tests.export.single_files.ldm import State, beside, ldm_clip, with_ema

Save = Callable[[State, Path], None]


def load(path: Path, scratch: Path, origins: Origins, chosen: Chosen | None = None) -> Checkpoint:
    """What an export would load."""
    scratch.mkdir()
    return load_parts(find_parts(str(path), None, None, origins, chosen or Chosen(), scratch))


def refusal(path: Path, scratch: Path, origins: Origins) -> str:
    with pytest.raises(MezzotintError) as error:
        load(path, scratch, origins)
    message = str(error.value)
    assert str(scratch) not in message
    assert "\n" not in message
    return message


def check_same(got: Checkpoint, expected: Checkpoint) -> None:
    assert got.configs == expected.configs
    for name, module in expected.modules.items():
        state = got.modules[name].state_dict()
        assert state.keys() == module.state_dict().keys()
        for key, tensor in module.state_dict().items():
            assert state[key].dtype == torch.float32
            assert state[key].is_contiguous() == tensor.is_contiguous()
            assert torch.equal(state[key], tensor), (name, key)


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_checkpoint))


def graphs(bundle: Bundle) -> dict[str, str]:
    """The hashes of a bundle's graphs and of the configs beside them."""
    files = [entry for component in bundle.manifest.components.values() for entry in component.files]
    configs = [f"{name}/config.json" for name in bundle.manifest.components]
    return {entry.path: entry.sha256 for entry in files} | {path: sha256_of(bundle.path / path) for path in configs}


@pytest.mark.parametrize("traced", ["once", pytest.param("anew", marks=pytest.mark.slow)])
def test_the_graphs_are_those_of_the_folder(
    traced: str,
    tiny_file: Path,
    tiny_checkpoint: Path,
    tiny_bundle: Bundle,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if traced == "anew":
        request.getfixturevalue("traced_anew")
    bundle = export_checkpoint(str(tiny_file), tmp_path / "bundle", origins=Origins(config=tiny_checkpoint))
    assert graphs(bundle) == graphs(tiny_bundle)
    source = bundle.manifest.source
    assert (source.name, source.sha256) == ("tiny.safetensors", sha256_of(tiny_file))
    assert source.single_file is not None
    assert (source.single_file.structure, source.single_file.weights) == ("checkpoint", "plain")
    assert source.prediction is not None
    assert (source.prediction.type, source.prediction.said_by) == ("epsilon", "the model's configs")
    for name in ("tokenizer/vocab.json", "scheduler/scheduler_config.json", "model_index.json"):
        assert (bundle.path / name).read_bytes() == (tiny_bundle.path / name).read_bytes()


def save_safetensors(state: State, path: Path) -> None:
    save_file(state, path, metadata={"format": "pt"})


def save_lightning(state: State, path: Path) -> None:
    """With an object of Lightning's, whose class is gone afterwards."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    kind: Any = type("ModelCheckpoint", (), {"__module__": name, "__qualname__": "ModelCheckpoint"})
    with pytest.MonkeyPatch.context() as patch:
        for count in (1, 2, 3):
            module = ModuleType(".".join(name.split(".")[:count]))
            patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(sys.modules[name], "ModelCheckpoint", kind, raising=False)
        callback = kind()
        callback.best = 3
        content = {"state_dict": state, "global_step": 875000, "epoch": 2, "callbacks": {kind: {"best": callback}}}
        torch.save(content, path)


def save_legacy(state: State, path: Path) -> None:
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)


def save_averaged(save: Save) -> Save:
    """With averages, which are the weights of `state`, beside weights that differ."""
    return lambda state, path: save(with_ema(state), path)


FORMS: dict[str, tuple[Save, str]] = {
    "safetensors": (save_safetensors, "model.safetensors"),
    "zip with an object of Lightning's": (save_lightning, "model.ckpt"),
    "legacy": (save_legacy, "model.ckpt"),
    "plain pickle": (torch.save, "model.pt"),
}


EMBEDDED: dict[str, tuple[Save, str, str]] = {
    "safetensors": (save_safetensors, "demo.safetensors", "plain"),
    "zip with averages and an object of Lightning's": (save_averaged(save_lightning), "demo.ckpt", "ema"),
    "legacy with averages": (save_averaged(save_legacy), "demo.ckpt", "ema"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("form", EMBEDDED)
def test_the_embedded_checkpoint_as_one_file(
    form: str, demo_checkpoint: Path, demo_bundle: Bundle, tmp_path: Path
) -> None:
    from tests.export.single_files.ldm import ldm_unet, ldm_vae

    save, name, weights = EMBEDDED[form]
    modules = load_checkpoint(str(demo_checkpoint)).modules
    state = ldm_unet(modules["unet"]) | ldm_vae(modules["vae"]) | ldm_clip(modules["text_encoder"])
    save({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / name)
    bundle = export_checkpoint(str(tmp_path / name), tmp_path / "bundle", origins=Origins(config=demo_checkpoint))
    assert graphs(bundle) == graphs(demo_bundle)
    assert bundle.manifest.source.single_file is not None
    assert bundle.manifest.source.single_file.weights == weights


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file(
    form: str,
    tiny_state: State,
    tiny_checkpoint: Path,
    folder: Checkpoint,
    tmp_path: Path,
) -> None:
    save, name = FORMS[form]
    save(tiny_state, tmp_path / name)
    check_same(load(tmp_path / name, tmp_path / "scratch", Origins(config=tiny_checkpoint)), folder)


def test_averages_are_taken_unless_the_weights_themselves_are_asked_for(
    tiny_state: State, tiny_checkpoint: Path, folder: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(with_ema(tiny_state), path)
    averages = load(path, tmp_path / "ema", Origins(config=tiny_checkpoint))
    check_same(averages, folder)
    assert averages.source.single_file is not None
    assert averages.source.single_file.weights == "ema"
    plain = load(path, tmp_path / "plain", Origins(config=tiny_checkpoint, weights="plain"))
    for key, tensor in folder.modules["unet"].state_dict().items():
        assert torch.equal(plain.modules["unet"].state_dict()[key], beside(tensor))
    assert plain.source.single_file is not None
    assert plain.source.single_file.weights == "plain"


def test_averages_that_are_not_there(tiny_file: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    message = refusal(tiny_file, tmp_path / "scratch", Origins(config=tiny_checkpoint, weights="ema"))
    assert "has no EMA weights" in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_are_float32_whatever_they_are_stored_as(
    dtype: torch.dtype, tiny_state: State, tiny_checkpoint: Path, folder: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    stored = {key: one.to(dtype) if one.is_floating_point() else one for key, one in tiny_state.items()}
    save_file(stored, path)
    got = load(path, tmp_path / "scratch", Origins(config=tiny_checkpoint)).modules["unet"].state_dict()
    for key, tensor in folder.modules["unet"].state_dict().items():
        assert torch.equal(got[key], tensor.to(dtype).to(torch.float32))


def test_files_of_2022_have_a_text_encoder_without_prefix_and_the_schedule_beside(
    tiny_state: State, tiny_modules: dict[str, Any], tiny_checkpoint: Path, folder: Checkpoint, tmp_path: Path
) -> None:
    state = {key: tensor for key, tensor in tiny_state.items() if not key.startswith("cond_stage_model.")}
    state |= ldm_clip(tiny_modules["text_encoder"], inner="")
    schedule = ("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "logvar", "lvlb_weights")
    state |= {name: torch.ones(1000) for name in (*schedule, "sqrt_one_minus_alphas_cumprod")}
    state |= {name: torch.ones(1000) for name in ("posterior_variance", "sqrt_recipm1_alphas_cumprod")}
    state |= {"first_stage_model.loss.logvar": torch.ones(1), "log_one_minus_alphas_cumprod": torch.ones(1000)}
    save_file(state, tmp_path / "model.safetensors")
    check_same(load(tmp_path / "model.safetensors", tmp_path / "scratch", Origins(config=tiny_checkpoint)), folder)


@pytest.mark.parametrize(
    ("prefix", "option"),
    [("first_stage_model.", "--vae FILE"), ("cond_stage_model.", "--text-encoder FILE|DIR")],
)
def test_a_part_that_is_not_there_is_named_with_the_option_for_it(
    prefix: str, option: str, tiny_state: State, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({key: tensor for key, tensor in tiny_state.items() if not key.startswith(prefix)}, path)
    assert option in refusal(path, tmp_path / "scratch", Origins(config=tiny_checkpoint))


def test_keys_that_nobody_knows_are_listed(tiny_state: State, tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    more = {f"embedding_manager.{letter}": torch.ones(1) for letter in "abcdefgh"}
    save_file(tiny_state | more, path)
    message = refusal(path, tmp_path / "scratch", Origins(config=tiny_checkpoint))
    assert "8 keys that are no part" in message
    assert "embedding_manager.a" in message
    assert "and 2 more" in message


def test_without_configs_a_structure_of_ones_own_is_refused(tiny_file: Path, tmp_path: Path) -> None:
    assert "--config" in refusal(tiny_file, tmp_path / "scratch", Origins())


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"])
@pytest.mark.parametrize("content", ["{", "version https://git-lfs.github.com/spec/v1\nsize 605\n"])
def test_what_is_wrong_with_the_configs_names_their_folder(
    name: str, content: str, tiny_file: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    configs = shutil.copytree(tiny_checkpoint, tmp_path / "configs")
    (configs / name).write_text(content, encoding="utf-8")
    assert str(configs / name) in refusal(tiny_file, tmp_path / "scratch", Origins(config=configs))


@pytest.mark.parametrize("config", ["nowhere", "owner/name", "file"])
def test_configs_are_a_folder(config: str, tiny_file: Path, tmp_path: Path) -> None:
    given = tiny_file if config == "file" else Path(config)
    message = refusal(tiny_file, tmp_path / "scratch", Origins(config=given))
    assert f"--config {given} is no folder" in message


def test_configs_of_another_structure_are_refused(tiny_file: Path, demo_checkpoint: Path, tmp_path: Path) -> None:
    message = refusal(tiny_file, tmp_path / "scratch", Origins(config=demo_checkpoint))
    assert message.startswith(f"{tiny_file} lacks")


@pytest.mark.parametrize(
    ("origins", "chosen", "word"),
    [
        (Origins(weights="plain"), Chosen(), "--weights plain"),
        (Origins(config=Path("configs")), Chosen(), "--config configs"),
    ],
)
def test_a_folder_says_these_itself(
    origins: Origins, chosen: Chosen, word: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(MezzotintError, match=word):
        find_parts(str(tiny_checkpoint), tiny_checkpoint, None, origins, chosen, tmp_path)


def test_a_single_file_has_no_variants(tiny_file: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="has no variants"):
        find_parts(str(tiny_file), None, "fp16", Origins(config=tiny_checkpoint), Chosen(), tmp_path)


class _Runs:
    """What a pickle runs when others load it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run_and_told_of(
    tiny_state: State, tiny_checkpoint: Path, folder: Checkpoint, tmp_path: Path
) -> None:
    torch.save({"state_dict": tiny_state, "callbacks": _Runs(tmp_path / "was-run")}, tmp_path / "model.ckpt")
    with pytest.warns(ForeignCodeWarning, match="touch|getattr|Path"):
        got = load(tmp_path / "model.ckpt", tmp_path / "scratch", Origins(config=tiny_checkpoint))
    check_same(got, folder)
    assert not (tmp_path / "was-run").exists()
