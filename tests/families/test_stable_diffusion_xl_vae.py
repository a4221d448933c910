"""Another VAE in a bundle of Stable Diffusion XL, whose latents are not those of Stable Diffusion."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import swap_vae
from mezzotint.runtime import Bundle, ImageToImage, TextToImage
from tests.export.small_vaes import save_tiny
from tests.families.tiny_xl import PROMPT, RUN, DiffusersXL, image_and_mask

FLOOR_DB = 80.0


def test_a_small_distilled_vae_takes_the_place_of_its_own(
    xl_bundle: Callable[[str], Bundle], xl_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    from diffusers import AutoencoderTiny

    small = save_tiny(tmp_path / "taesdxl")
    with pytest.raises(MezzotintError, match=r"0\.18215.*0\.13025"):
        swap_vae(xl_bundle("base").path, str(save_tiny(tmp_path / "taesd")), tmp_path / "other")
    bundle = swap_vae(xl_bundle("base").path, str(small), tmp_path / "bundle")
    theirs = DiffusersXL(xl_checkpoint("base"), vae=AutoencoderTiny.from_pretrained(small))
    text = TextToImage.load(bundle.path, backend="onnxruntime")
    assert psnr_db(theirs.text(PROMPT, **RUN), text(PROMPT, guidance=5.0, **RUN).pixels) > FLOOR_DB
    image, _ = image_and_mask()
    found = ImageToImage.sharing(text)(PROMPT, image, strength=0.5, guidance=5.0, **RUN).pixels
    assert psnr_db(theirs.image(PROMPT, image, strength=0.5, **RUN), found) > FLOOR_DB
