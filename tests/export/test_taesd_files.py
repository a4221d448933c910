"""TAESD's own files against diffusers' module of the same weights; what is none of them is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from mezzotint.errors import MezzotintError
from mezzotint.export.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.export.taesd_files import find_taesd
from mezzotint.export.vae_source import load_vae
from tests.export.small_vaes import save_halves

Weights = dict[str, torch.Tensor]
SIZES = {
    "encoder_block_out_channels": (8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8),
    "num_encoder_blocks": (1, 2, 3),
    "num_decoder_blocks": (3, 2, 1),
}


@pytest.fixture(scope="module")
def vae() -> AutoencoderTiny:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderTiny(**SIZES).eval()


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("half", ["decoder", "encoder"])
def test_either_file_stands_for_both(half: str, ending: str, vae: AutoencoderTiny, tmp_path: Path) -> None:
    given = save_halves(vae, tmp_path, ending).with_name(f"taesd_{half}{ending}")
    loaded = load_vae(str(given), STABLE_DIFFUSION)
    assert (loaded.name, loaded.variant, len(loaded.sha256)) == ("taesd", "", 64)
    assert {key: tuple(loaded.config[key]) for key in SIZES} == SIZES
    latents, pixels = torch.randn(1, 4, 6, 5), torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module.decode(latents).sample, vae.decode(latents).sample)
        torch.testing.assert_close(loaded.module.encode(pixels).latents, vae.encode(pixels).latents)


def test_one_file_of_both_halves_in_diffusers_names(vae: AutoencoderTiny, tmp_path: Path) -> None:
    save_file(vae.state_dict(), tmp_path / "taesd.safetensors")
    loaded = load_vae(str(tmp_path / "taesd.safetensors"), STABLE_DIFFUSION)
    assert loaded.name == "taesd"
    assert {key: tuple(loaded.config[key]) for key in SIZES} == SIZES
    expected = vae.state_dict()
    state = loaded.module.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize("lost", ["decoder", "encoder"])
def test_one_file_that_lacks_a_half_is_refused(lost: str, vae: AutoencoderTiny, tmp_path: Path) -> None:
    rest = {key: tensor for key, tensor in vae.state_dict().items() if not key.startswith(lost)}
    save_file(rest, tmp_path / "taesd.safetensors")
    with pytest.raises(MezzotintError, match=f"0 tensors of the {lost}"):
        load_vae(str(tmp_path / "taesd.safetensors"), STABLE_DIFFUSION)


def test_the_published_sizes_are_told_from_the_shapes(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        whole = AutoencoderTiny()
    found = load_vae(str(save_halves(whole, tmp_path, name="taesdxl")), STABLE_DIFFUSION)
    assert found.name == "taesdxl"
    assert {key: list(whole.config[key]) for key in SIZES} == {key: list(found.config[key]) for key in SIZES}


def test_names_that_say_no_half_are_no_pair(vae: AutoencoderTiny, tmp_path: Path) -> None:
    torch.save({"decoder.conv_in.weight": torch.ones(4, 4, 3, 3)}, tmp_path / "vae_decoder.pt")
    assert find_taesd(tmp_path / "vae_decoder.pt") is None
    path = save_halves(vae, tmp_path).rename(tmp_path / "half.pth")
    with pytest.raises(MezzotintError, match="neither decoder nor encoder"):
        find_taesd(path)


def spoil(change: Callable[[Weights], Weights]) -> Callable[[Path], None]:
    def spoiled(decoder: Path) -> None:
        torch.save(change(torch.load(decoder, weights_only=True)), decoder)

    return spoiled


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda decoder: decoder.with_name("taesd_encoder.pth").unlink(), ("taesd_encoder.pth is not there",)),
        (lambda decoder: decoder.write_bytes(b"PK\x03\x04 nothing"), ("taesd_decoder.pth",)),
        (
            lambda decoder: torch.save({"module.weight": torch.ones(1)}, decoder.with_name("taesd_encoder.pth")),
            ("'module.weight'", "numbered layers"),
        ),
        (spoil(lambda weights: {k: v for k, v in weights.items() if k != "3.conv.2.bias"}), ("AutoencoderTiny",)),
        (spoil(lambda weights: {**weights, "1.weight": torch.ones(4)}), ("no decoder of TAESD",)),
        (spoil(lambda weights: {"1.weight": weights["1.weight"]}), ("no decoder of TAESD",)),
        (spoil(lambda weights: {**weights, "999.weight": torch.ones(8, 8, 3, 3)}), ("no decoder of TAESD",)),
    ],
)
def test_what_makes_no_autoencoder_is_refused(
    change: Callable[[Path], None], words: tuple[str, ...], vae: AutoencoderTiny, tmp_path: Path
) -> None:
    decoder = save_halves(vae, tmp_path)
    change(decoder)
    with pytest.raises(MezzotintError) as error:
        load_vae(str(decoder), STABLE_DIFFUSION)
    assert "\n" not in str(error.value)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)
