"""T2I-adapters that do not belong to a checkpoint are refused by what is wrong with them, before anything is made."""

import json
from pathlib import Path
from typing import Any

import pytest

from mezzotint.adapters.given_control import GivenControl, parse_control
from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.export.families.t2i_adapter import check_t2i_adapter
from tests.conftest import MakeOnce
from tests.export.published import PUBLISHED, save_published
from tests.families.tiny_control import save_control_net
from tests.families.tiny_t2i_adapter import save_adapter

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other widths": ({"channels": [32, 32]}, "tensor 2 of what it adds"),
    "too many levels": ({"channels": [32, 64, 64, 64]}, "tensor 3 of what it adds"),
    "of Stable Diffusion XL": ({"adapter_type": "full_adapter_xl", "downscale_factor": 4}, "tensor 1 of what it adds"),
    "another VAE": ({"downscale_factor": 3}, "downscale_factor"),
    "no factor": ({"downscale_factor": True}, "downscale_factor"),
    "no widths": ({"channels": []}, "channels"),
    "one width": ({"channels": 32}, "channels"),
    "no layers": ({"num_res_blocks": 0}, "num_res_blocks"),
    "two colours": ({"in_channels": 2}, "in_channels"),
    "another kind": ({"adapter_type": "heavy_adapter"}, "adapter_type"),
    "what nobody knows": ({"attends_backwards": True}, "its key attends_backwards"),
}


@pytest.fixture(scope="module")
def adapter(make_once: MakeOnce) -> Path:
    return make_once("tiny-t2i-adapter", lambda folder: save_adapter(folder, channels=[32, 64]))


def refused(checkpoint: Path, folder: Path, path: Path, kind: ControlKind = ControlKind.T2I_ADAPTER) -> MezzotintError:
    """The error of an export with that adapter, which leaves nothing behind."""
    with pytest.raises(MezzotintError) as caught:
        export_checkpoint(str(checkpoint), folder / "out", controls=[GivenControl(name="depth", path=path, kind=kind)])
    assert not (folder / "out").exists()
    return caught.value


def changed(adapter: Path, folder: Path, **config: Any) -> Path:
    """The adapter with another config beside the same weights."""
    stated = json.loads((adapter / "config.json").read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**stated, **config}), encoding="utf-8")
    weights = "diffusion_pytorch_model.safetensors"
    (folder / weights).symlink_to(adapter / weights)
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_named(case: str, adapter: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config, what = REFUSED[case]
    error = refused(tiny_checkpoint, tmp_path, changed(adapter, tmp_path / "adapter", **config))
    assert error.what == what
    assert error.where == tmp_path / "adapter" / "config.json"
    assert repr(error.got) in str(error)  # whole: what differs may stand last


def test_weights_of_another_config_are_refused(adapter: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    error = refused(tiny_checkpoint, tmp_path, changed(adapter, tmp_path / "adapter", num_res_blocks=1))
    assert "unexpected weights" in str(error)


def test_each_kind_is_pointed_to_its_option(adapter: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    error = refused(tiny_checkpoint, tmp_path, adapter, ControlKind.CONTROLNET)
    assert (error.got, error.expected) == ("a T2IAdapter", "ControlNetModel")
    assert error.advice == f"give it as --t2i-adapter depth={adapter}"
    error = refused(tiny_checkpoint, tmp_path, save_control_net(tiny_checkpoint, tmp_path / "net", 0))
    assert (error.got, error.expected) == ("a ControlNetModel", "T2IAdapter")
    assert "after --t2i-adapter NAME=" in str(refused(adapter, tmp_path, adapter))  # it is no checkpoint
    with pytest.raises(MezzotintError) as caught:
        parse_control("depth", ControlKind.T2I_ADAPTER)
    assert caught.value.what == "--t2i-adapter"


def test_one_name_is_of_one_control(adapter: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    both = [GivenControl(name="depth", path=adapter, kind=kind) for kind in ControlKind]
    with pytest.raises(MezzotintError) as caught:
        export_checkpoint(str(tiny_checkpoint), tmp_path / "out", controls=both)
    assert caught.value.what == "a ControlNet and a T2I-adapter are called depth"


@pytest.mark.parametrize(
    ("kind", "what"), [("sd-1.5-inpainting", "made to inpaint"), ("lcm-dreamshaper-7", "latent-consist")]
)
def test_models_that_take_none_say_so(
    kind: str, what: str, adapter: Path, demo_checkpoint: Path, tmp_path: Path
) -> None:
    folder = save_published(tmp_path / "checkpoint", PUBLISHED[kind], demo_checkpoint)
    assert what in str(refused(folder, tmp_path, adapter).what)


SD, XL = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2
UNETS: dict[str, dict[str, Any]] = {
    "1": {"block_out_channels": [320, 640, 1280, 1280], "down_block_types": SD},
    "XL": {"block_out_channels": [320, 640, 1280], "down_block_types": XL},
}
# As published: T2I-Adapter of Stable Diffusion 1 (TencentARC/t2iadapter_depth_sd14v1 and _color_), and of XL.
PUBLISHED_ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("1", {"adapter_type": "full_adapter", "channels": [320, 640, 1280, 1280], "downscale_factor": 8}),
    "grey": ("1", {"channels": [320, 640, 1280, 1280], "downscale_factor": 8, "in_channels": 1}),
    "light": ("1", {"adapter_type": "light_adapter", "channels": [320, 640, 1280], "num_res_blocks": 4}),
    "xl": ("XL", {"adapter_type": "full_adapter_xl", "channels": [320, 640, 1280, 1280], "downscale_factor": 16}),
}
GEOMETRY = Geometry(
    vae_factor=8, latent_channels=4, unet_channels=4, native_side_pixels=512, scaling_factor=0.18215, shift_factor=0.0
)


@pytest.mark.parametrize("name", PUBLISHED_ADAPTERS)
def test_published_shapes_fit_their_own_model_alone(name: str, tmp_path: Path) -> None:
    of, config = PUBLISHED_ADAPTERS[name]
    stated = {"_class_name": "T2IAdapter", "_diffusers_version": "0.19.0", **config}
    check_t2i_adapter(tmp_path / "config.json", stated, UNETS[of], GEOMETRY)
    (other,) = (unet for key, unet in UNETS.items() if key != of)
    with pytest.raises(MezzotintError) as caught:
        check_t2i_adapter(tmp_path / "config.json", stated, other, GEOMETRY)
    assert caught.value.what == "tensor 1 of what it adds"
