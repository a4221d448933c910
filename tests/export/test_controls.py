"""ControlNets that do not belong to a checkpoint are refused by what is wrong with them, before anything is made."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mezzotint.adapters.given_control import GivenControl, parse_control
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.export.checkpoint import load_parts
from mezzotint.export.checkpoint_folder import folder_parts
from tests.conftest import MakeOnce
from tests.export.published import PUBLISHED, save_published
from tests.families.tiny_control import save_control_net

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another text encoder": ({"cross_attention_dim": 64}, "cross_attention_dim"),
    "other latents": ({"in_channels": 9}, "in_channels"),
    "other widths": ({"block_out_channels": [32, 32]}, "block_out_channels"),
    "more layers": ({"layers_per_block": 2}, "layers_per_block"),
    "Stable Diffusion XL's": ({"addition_embed_type": "text_time"}, "addition_embed_type"),
    "another VAE": ({"conditioning_embedding_out_channels": [8, 16, 32]}, "conditioning_embedding_out_channels"),
    "no image": ({"conditioning_channels": 1}, "conditioning_channels"),
    "a global condition": ({"global_pool_conditions": True}, "global_pool_conditions"),
    "other sizes": ({"downsample_padding": 0}, "downsample_padding"),
    "a class": ({"num_class_embeds": 3}, "num_class_embeds"),
    "what nobody knows": ({"attends_backwards": True}, "its key attends_backwards"),
}


@pytest.fixture(scope="module")
def net(make_once: MakeOnce, tiny_checkpoint: Path) -> Path:
    return make_once("tiny-control-net", lambda folder: save_control_net(tiny_checkpoint, folder, 0))


def refused(checkpoint: Path, folder: Path, path: Path, name: str = "edges") -> MezzotintError:
    """The error of an export with that ControlNet, which leaves nothing behind."""
    with pytest.raises(MezzotintError) as caught:
        export_checkpoint(str(checkpoint), folder / "out", controls=[GivenControl(name=name, path=path)])
    assert not (folder / "out").exists()
    return caught.value


def changed(net: Path, folder: Path, **config: Any) -> Path:
    """The ControlNet with another config beside the same weights."""
    stated = json.loads((net / "config.json").read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**stated, **config}), encoding="utf-8")
    weights = "diffusion_pytorch_model.safetensors"
    (folder / weights).symlink_to(net / weights)
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_named(case: str, net: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config, key = REFUSED[case]
    error = refused(tiny_checkpoint, tmp_path, changed(net, tmp_path / "net", **config))
    assert error.what == key
    assert error.where == tmp_path / "net" / "config.json"
    assert error.got == next(iter(config.values()))


@pytest.mark.parametrize("kind", ["ControlNetUnionModel", "ControlNetXSAdapter", "T2IAdapter"])
def test_other_classes_are_refused(kind: str, net: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    error = refused(tiny_checkpoint, tmp_path, changed(net, tmp_path / "net", _class_name=kind))
    assert kind in str(error)
    assert "expected ControlNetModel" in str(error)


def test_weights_of_another_config_are_refused(net: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    error = refused(tiny_checkpoint, tmp_path, changed(net, tmp_path / "net", down_block_types=["DownBlock2D"] * 2))
    assert "unexpected weights" in str(error)


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a:b", "x" * 41])
def test_a_name_has_to_be_a_word(name: str, net: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert refused(tiny_checkpoint, tmp_path, net, name).what == "a ControlNet's name"


def test_two_of_one_name_and_none_at_all(net: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    twice = [GivenControl(name="edges", path=net)] * 2
    with pytest.raises(MezzotintError) as caught:
        export_checkpoint(str(tiny_checkpoint), tmp_path / "out", controls=twice)
    assert caught.value.what == "two ControlNets are called edges"
    assert refused(tiny_checkpoint, tmp_path, tmp_path / "nowhere").what == "the ControlNet edges"


@pytest.mark.parametrize("text", ["edges", "edges=", "folder/of/it"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(MezzotintError) as caught:
        parse_control(text)
    assert (caught.value.what, caught.value.got) == ("--controlnet", text)


@pytest.mark.parametrize(
    ("kind", "what"), [("sd-1.5-inpainting", "made to inpaint"), ("lcm-dreamshaper-7", "latent-consist")]
)
def test_models_that_take_none_say_so(kind: str, what: str, net: Path, demo_checkpoint: Path, tmp_path: Path) -> None:
    folder = save_published(tmp_path / "checkpoint", PUBLISHED[kind], demo_checkpoint)
    assert what in str(refused(folder, tmp_path, net).what)


def test_the_weights_may_be_given_by_their_file(net: Path, tiny_checkpoint: Path) -> None:
    from dataclasses import replace

    parts = folder_parts(str(tiny_checkpoint), tiny_checkpoint)
    file = GivenControl(name="edges", path=net / "diffusion_pytorch_model.safetensors")
    whole = GivenControl(name="edges", path=net)
    first, second = (load_parts(replace(parts, controls=(one,))).controls[0] for one in (file, whole))
    assert first == second


def test_of_several_variants_one_is_given_by_its_file(net: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(net, tmp_path / "net")
    plain = folder / "diffusion_pytorch_model.safetensors"
    for variant in ("bf16", "fp16"):
        shutil.copyfile(plain, plain.with_suffix(f".{variant}.safetensors"))
    plain.unlink()
    error = refused(tiny_checkpoint, tmp_path, folder)
    assert "bf16, fp16" in str(error)
    assert "--controlnet edges=FILE" in str(error)
    assert "--variant" not in str(error)
