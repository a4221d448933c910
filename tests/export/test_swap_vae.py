"""A bundle with another VAE: the images of diffusers with that VAE in its pipeline, and everything else untouched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mezzotint.bundle.bundle import sha256_of
from mezzotint.bundle.manifest import Replacement
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import LatentSpaceWarning, swap_vae
from mezzotint.export.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.export.vae_fit import check_fit
from mezzotint.export.vae_source import load_vae
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage
from tests.export.single_files.ldm import ldm_vae
from tests.export.small_vaes import PUBLISHED_MSE, save_kl, save_tiny
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.test_image_to_image import photo
from tests.runtime.test_inpaint import mask

PROMPT = "a flat emoji of a green leaf"
OPTIONS: dict[str, Any] = {"steps": 5, "guidance": 4.0, "seed": 5}
HALVES = ("vae_decoder", "vae_encoder")
Swapped = Callable[[str], Bundle]


@pytest.fixture(scope="module")
def vaes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vaes")
    xl = {**PUBLISHED_MSE, "_diffusers_version": "0.18.0.dev0", "scaling_factor": 0.13025}
    return {
        "mse": save_kl(folder / "sd-vae-ft-mse"),
        "xl": save_kl(folder / "sdxl-vae", xl),
        "taesd": save_tiny(folder / "taesd"),
        "taesdxl": save_tiny(folder / "taesdxl"),
        "nameless": save_tiny(folder / "small"),
        "wide": save_tiny(folder / "taesd3", latent_channels=16),
        "deep": save_tiny(
            folder / "deep",
            encoder_block_out_channels=(16,) * 3,
            decoder_block_out_channels=(16,) * 3,
            num_encoder_blocks=(1,) * 3,
            num_decoder_blocks=(1,) * 3,
        ),
    }


@pytest.fixture(scope="module")
def swapped(
    tiny_bundle: Bundle, tiny_taesd: Bundle, vaes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Swapped:
    """The tiny bundle with one of the VAEs, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("swapped"), {"taesd": tiny_taesd}

    def swap(name: str) -> Bundle:
        if name not in made:
            made[name] = swap_vae(tiny_bundle.path, str(vaes[name]), folder / name)
        return made[name]

    return swap


def with_vae(checkpoint: Path, vae: Path) -> DiffusersImages:
    """diffusers' pipelines whose VAE is another."""
    import diffusers

    kind = getattr(diffusers, json.loads((vae / "config.json").read_text(encoding="utf-8"))["_class_name"])
    return DiffusersImages(checkpoint, vae=kind.from_pretrained(vae))


@pytest.mark.parametrize("name", ["mse", "taesd"])
def test_images_are_those_of_diffusers_with_that_vae(
    name: str, swapped: Swapped, vaes: dict[str, Path], tiny_checkpoint: Path
) -> None:
    oracle = with_vae(tiny_checkpoint, vaes[name])
    pipe = TextToImage.load(swapped(name).path, backend="onnxruntime")
    source, hole = photo(16, 24), mask(16, 24)
    for found, expected in (
        (pipe(PROMPT, **OPTIONS), oracle.text(PROMPT, **OPTIONS)),
        (
            ImageToImage.sharing(pipe)(PROMPT, source, strength=0.6, **OPTIONS),
            oracle.image(PROMPT, source, strength=0.6, **OPTIONS),
        ),
        (
            Inpaint.sharing(pipe)(PROMPT, source, hole, strength=0.6, **OPTIONS),
            oracle.inpaint(PROMPT, source, hole, strength=0.6, **OPTIONS),
        ),
    ):
        assert psnr_db(expected, found.pixels) > 80


def test_all_else_is_copied_byte_for_byte(swapped: Swapped, tiny_bundle: Bundle) -> None:
    bundle = swapped("taesd")
    assert bundle.verify() == tiny_bundle.verify()
    before = {entry.path: entry.sha256 for entry in tiny_bundle.entries()}
    changed = {entry.path for entry in bundle.entries() if before.get(entry.path) != entry.sha256}
    assert changed == {
        *(f"{name}/{file}" for name in HALVES for file in ("model.onnx", "config.json")),
        *("model_index.json", "README.md", "preview_colours.json"),
    }
    assert bundle.config("model_index.json")["vae"] == ["diffusers", "AutoencoderTiny"]
    for name in ("text_encoder", "unet"):
        assert bundle.component(name) == tiny_bundle.component(name)
    assert all(bundle.component(name).parity is not None for name in HALVES)


def test_the_manifest_says_what_was_replaced(swapped: Swapped, tiny_bundle: Bundle) -> None:
    bundle = swapped("mse")
    replaced = bundle.manifest.replaced["vae"]
    assert (replaced.name, replaced.latent_scale) == ("sd-vae-ft-mse", 0.18215)
    assert len(replaced.sha256) == 64
    assert bundle.manifest.source == tiny_bundle.manifest.source
    assert tiny_bundle.manifest.replaced == {}
    assert '"replaced"' not in (tiny_bundle.path / "mezzotint.json").read_text(encoding="utf-8")
    assert "sd-vae-ft-mse" in (bundle.path / "README.md").read_text(encoding="utf-8")
    origin = TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, steps=1).origin
    assert origin.replaced == f"vae sd-vae-ft-mse {replaced.sha256[:10]}"


def test_a_checkpoints_folder_holds_one_too(vaes: dict[str, Path], swapped: Swapped, tmp_path: Path) -> None:
    """Under its name the VAE is known, and the hash is that of the same files in a folder of their own."""
    shutil.copytree(vaes["taesd"], tmp_path / "somebodys-model" / "vae")
    (tmp_path / "somebodys-model" / "model_index.json").write_text("{}", encoding="utf-8")
    loaded = load_vae(str(tmp_path / "somebodys-model"), STABLE_DIFFUSION)
    assert loaded.name == "somebodys-model"
    assert loaded.sha256 == swapped("taesd").manifest.replaced["vae"].sha256


def refusal(bundle: Bundle, vae: object, output: Path, **options: Any) -> str:
    before = sorted(output.parent.iterdir())
    with pytest.raises(MezzotintError) as error:
        swap_vae(bundle.path, str(vae), output, **options)
    assert error.value.exit_code == 2
    assert sorted(output.parent.iterdir()) == before
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xl", ("0.13025", "0.18215", "--force-vae")),
        ("taesdxl", ("0.13025", "0.18215", "--force-vae")),
        ("wide", ("16 latent channels", "expected 4")),
        ("deep", ("4 pixels a latent", "expected 2")),
    ],
)
def test_a_vae_that_does_not_fit_is_refused(
    name: str, words: tuple[str, ...], tiny_bundle: Bundle, vaes: dict[str, Path], tmp_path: Path
) -> None:
    message = refusal(tiny_bundle, vaes[name], tmp_path / "out")
    assert [word for word in words if word not in message] == []
    if "--force-vae" not in words:
        assert refusal(tiny_bundle, vaes[name], tmp_path / "out", force=True) == message


def test_force_takes_other_latents_with_their_factor(tiny_bundle: Bundle, vaes: dict[str, Path]) -> None:
    forced = load_vae(str(vaes["xl"]), STABLE_DIFFUSION)
    assert check_fit(tiny_bundle, STABLE_DIFFUSION, forced, force=True).scaling_factor == 0.13025


def test_what_was_distilled_from_an_unknown_vae_is_taken_with_a_warning(
    tiny_bundle: Bundle, vaes: dict[str, Path]
) -> None:
    with pytest.warns(LatentSpaceWarning, match="small"):
        check_fit(tiny_bundle, STABLE_DIFFUSION, load_vae(str(vaes["nameless"]), STABLE_DIFFUSION))


def test_latents_are_remembered_through_a_distilled_vae(
    swapped: Swapped, vaes: dict[str, Path], tmp_path: Path
) -> None:
    """Its own factor is 1: without the record any VAE could follow it."""
    small = swapped("taesd")
    assert small.manifest.replaced["vae"].latent_scale == 0.18215
    assert "0.18215" in refusal(small, vaes["xl"], tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", ("nowhere does not exist", "VAE's folder")),
        (lambda folder: folder, ("holds no VAE", "config.json")),
        (lambda folder: _file(folder / "vae.safetensors"), ("vae.safetensors is neither", "torch.save")),
        (
            lambda folder: _of_class(folder / "dc", "AutoencoderDC"),
            ("AutoencoderDC", "AutoencoderKL", "AutoencoderTiny"),
        ),
        (lambda folder: _of_class(folder / "lost", "AutoencoderTiny"), ("lost has no weights",)),
        (lambda folder: _of_class(folder / "odd", "AutoencoderTiny", warp_drive=9), ("warp_drive",)),
        (
            lambda folder: _of_class(folder / "odd", "AutoencoderTiny", upsampling_scaling_factor=4),
            ("upsampling_scaling_factor = 4", "expected 2"),
        ),
    ],
)
def test_what_is_no_vae_is_refused(
    make: Callable[[Path], Path], words: tuple[str, ...], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    message = refusal(tiny_bundle, make(tmp_path), tmp_path / "out")
    assert [word for word in words if word not in message] == [], message


def _file(path: Path) -> Path:
    path.write_bytes(b"weights")
    return path


def _of_class(folder: Path, name: str, **keys: object) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": name, **keys}), encoding="utf-8")
    return folder


def test_weights_of_another_config_are_refused(tiny_bundle: Bundle, vaes: dict[str, Path], tmp_path: Path) -> None:
    spoiled = shutil.copytree(vaes["taesd"], tmp_path / "taesd")
    config = json.loads((spoiled / "config.json").read_text(encoding="utf-8")) | {"num_decoder_blocks": [3, 1]}
    (spoiled / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "missing weights" in refusal(tiny_bundle, spoiled, tmp_path / "out")


def test_a_file_goes_by_the_config_of_the_bundles_vae(
    tiny_bundle: Bundle, tiny_modules: dict[str, Any], tmp_path: Path
) -> None:
    """In whichever naming; an export of the same weights is among the tests of parts from elsewhere."""
    path = tmp_path / "vae.safetensors"
    save_file(ldm_vae(tiny_modules["vae"]), path)
    loaded = load_vae(str(path), STABLE_DIFFUSION, own=tiny_bundle.config("vae_decoder/config.json"))
    assert (loaded.name, loaded.sha256, loaded.states_scale) == ("vae.safetensors", sha256_of(path), False)
    expected = tiny_modules["vae"].state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.module.state_dict().items())
    with pytest.warns(LatentSpaceWarning):
        check_fit(tiny_bundle, STABLE_DIFFUSION, loaded)
    with pytest.raises(MezzotintError, match="no variant 'fp16'"):
        load_vae(str(path), STABLE_DIFFUSION, "fp16", tiny_bundle.config("vae_decoder/config.json"))


def test_an_existing_output_is_replaced_only_when_told(
    tiny_bundle: Bundle, vaes: dict[str, Path], tmp_path: Path
) -> None:
    """Here the bundle itself, by a VAE that is of other latents by its name."""
    copy = Bundle.open(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))
    assert "--overwrite" in refusal(copy, vaes["taesdxl"], copy.path, force=True)
    again = swap_vae(copy.path, str(vaes["taesdxl"]), copy.path, overwrite=True, force=True)
    assert again.manifest.replaced["vae"] == Replacement(
        name="taesdxl", sha256=again.manifest.replaced["vae"].sha256, latent_scale=0.18215
    )
