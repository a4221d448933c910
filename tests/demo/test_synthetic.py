"""The synthetic checkpoint is a real one to diffusers, and has the difficulties that it promises."""

import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import transformers
from accelerate import init_empty_weights
from diffusers import AutoencoderTiny, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file

from demo.outliers import DRIFT, FIRST_TOKEN_PEAK, HOT_CHANNEL_GAINS
from demo.shapes import SHAPES
from demo.synthetic import main, write_checkpoint
from mezzotint.arrays import Array
from mezzotint.bundle.bundle import list_files, sha256_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TINY = SHAPES["tiny"]
TEXT, UNET = (TINY.configs[name][1] for name in ("text_encoder", "unet"))
TOKENS, TEXT_WIDTH, SIDE = TEXT["max_position_embeddings"], TEXT["hidden_size"], UNET["sample_size"]
TIMESTEPS = (1, 500, 999)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "tiny"
    write_checkpoint(TINY, path)
    return path


def hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_of(folder / name) for name in list_files(folder)}


def unet_inputs(unet: UNet2DConditionModel, wanted: Callable[[str], bool]) -> dict[str, list[Array]]:
    """What the modules with a wanted name get in a call at each of TIMESTEPS."""
    seen: dict[str, list[Array]] = {}
    for name, module in unet.named_modules():
        if wanted(name):
            seen[name] = []
            module.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0].numpy()))
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, SIDE, SIDE, generator=generator)
    text = torch.randn(2, TOKENS, TEXT_WIDTH, generator=generator)
    with torch.no_grad():
        for timestep in TIMESTEPS:
            assert torch.isfinite(unet(latents, timestep, text).sample).all()
    return seen


@pytest.fixture
def unet(folder: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(folder / "unet").eval()


def test_diffusers_generates_with_it(folder: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a red apple", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 16, 16, 3)
    assert np.isfinite(image).all()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_diffusers_generates_with_the_shape_of_sdxl(tmp_path: Path) -> None:
    write_checkpoint(SHAPES["tiny-xl"], tmp_path / "xl")
    pipe = StableDiffusionXLPipeline.from_pretrained(tmp_path / "xl", add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a red apple", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 16, 16, 3)
    assert np.isfinite(image).all()


def test_a_lone_autoencoder(tmp_path: Path) -> None:
    write_checkpoint(SHAPES["taesd"], tmp_path / "taesd")
    module = AutoencoderTiny.from_pretrained(tmp_path / "taesd")
    assert sum(parameter.numel() for parameter in module.parameters()) == 2_445_063
    assert {path.name for path in (tmp_path / "taesd").iterdir()} >= {"config.json", "README.md"}


# As published: what the pruned models save is told by the count alone.
@pytest.mark.parametrize(("name", "millions"), [("sd15", 859.5), ("sd21", 865.9), ("sdxl", 2567.5), ("ssd1b", 1331.3)])
def test_denoisers_have_as_many_parameters_as_the_published_ones(name: str, millions: float) -> None:
    kind, config = SHAPES[name].configs["unet"]
    with init_empty_weights():
        module = getattr(diffusers, kind)(**config)
    assert sum(parameter.numel() for parameter in module.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_the_seed_decides_every_byte(folder: Path, tmp_path: Path) -> None:
    write_checkpoint(TINY, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(folder)
    write_checkpoint(TINY, tmp_path / "other", seed=5)
    changed = {name for name, digest in hashes(tmp_path / "other").items() if digest != hashes(folder)[name]}
    assert {Path(name).suffix for name in changed} == {".safetensors"}
    assert len(changed) == 3


def test_weights_are_those_of_modules_that_are_made_with_the_seed(tmp_path: Path) -> None:
    """Drawn into their file, layer by layer: to the last bit what a constructor draws."""
    write_checkpoint(SHAPES["tiny"], tmp_path / "tiny", seed=7, plant=False)
    for folder, (kind, config) in SHAPES["tiny"].configs.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7 + {"text_encoder": 0, "unet": 1, "vae": 3}[folder])
            if hasattr(diffusers, kind):
                made = getattr(diffusers, kind)(**config)
            else:
                made = getattr(transformers, kind)(getattr(transformers, kind).config_class(**config))
        (path,) = (tmp_path / "tiny" / folder).glob("*.safetensors")
        drawn, expected = load_file(path), made.state_dict()
        assert drawn.keys() == expected.keys()
        assert [name for name, tensor in drawn.items() if not torch.equal(tensor, expected[name])] == []


def test_the_first_token_towers_over_the_others(folder: Path) -> None:
    from transformers import CLIPTextModel

    model = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    with torch.no_grad():
        states = model(torch.arange(TOKENS)[None]).last_hidden_state[0].abs().numpy()  # (tokens, C)
    assert states[0].max() == pytest.approx(FIRST_TOKEN_PEAK, rel=0.1)
    assert states[1:].max() < FIRST_TOKEN_PEAK / 4


def test_every_second_feed_forward_has_hot_channels(unet: UNet2DConditionModel) -> None:
    for name, calls in unet_inputs(unet, lambda name: name.endswith("ff.net.2")).items():
        peaks = np.sort(np.max([np.abs(call).max(axis=(0, 1)) for call in calls], axis=0))  # (C,)
        assert peaks[-len(HOT_CHANNEL_GAINS)] > 5 * np.median(peaks), name


def test_skips_outweigh_the_trunk(unet: UNet2DConditionModel) -> None:
    outer = unet.config.block_out_channels[::-1]
    found = unet_inputs(unet, lambda name: name.startswith("up_blocks") and name.endswith("resnets.0.conv_shortcut"))
    ratios = []
    for level, calls in enumerate(found.values()):
        trunk = outer[max(level - 1, 0)]  # channels of the trunk, which come first
        ratios.append(float(np.std(calls[0][:, trunk:]) / np.std(calls[0][:, :trunk])))
    assert 3.0 < max(ratios) < 15.0


def test_activations_drift_over_the_timesteps(unet: UNet2DConditionModel) -> None:
    for name, calls in unet_inputs(unet, lambda name: name.endswith("downsamplers.0.conv")).items():
        last, _, first = (float(np.abs(call).max()) for call in calls)
        assert DRIFT / 2 < first / last < 2 * DRIFT, name


def test_an_existing_output_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = hashes(folder)
    monkeypatch.setattr(sys, "argv", ["synthetic", "tiny", "-o", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert str(folder) in said
    assert "Traceback" not in said
    assert hashes(folder) == before
