"""`mezzotint swap-vae` on bundles that are quantized already: what the new VAE is stored as, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.cli.swap_vae import storages_of
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, TextToImage
from tests.cli.conftest import Cli
from tests.export.small_vaes import save_tiny

PROMPT = "a flat emoji of a red apple"


def test_a_quantized_bundle_keeps_its_unet_and_its_storage(cli: Cli, tiny_int8: Bundle, tmp_path: Path) -> None:
    """The recipe "int8" has its VAE in FP16, and so has the new one."""
    import torch
    from diffusers import AutoencoderTiny

    vae = save_tiny(tmp_path / "taesd")
    code, out, err = cli("swap-vae", tiny_int8.path, vae, "-o", "new")
    assert code == 0, err
    assert "vae_decoder: float16, " in out
    assert "vae: taesd (sha256 " in out
    assert out.endswith("wrote new\n")
    assert "was float16" not in err
    assert "--set vae_decoder=int8" in err
    new = Bundle.open(tmp_path / "new")
    new.verify()
    for name in ("text_encoder", "unet"):
        assert new.component(name) == tiny_int8.component(name)
    assert (new.manifest.recipe, new.manifest.calibration) == ("int8", tiny_int8.manifest.calibration)
    for name in ("vae_decoder", "vae_encoder"):
        component = new.component(name)
        assert (component.storage, component.compute) == (Storage.FLOAT16, tiny_int8.component(name).compute)
        assert component.parity is not None and component.parity.sqnr_db is not None and component.parity.sqnr_db > 45
    found = TextToImage.load(new.path, backend="onnxruntime")(PROMPT, steps=2)
    latents = TextToImage.load(tiny_int8.path, backend="onnxruntime")(PROMPT, steps=2).latents
    np.testing.assert_array_equal(latents, found.latents)
    with torch.inference_mode():
        decoded = AutoencoderTiny.from_pretrained(vae).decode(torch.from_numpy(latents)).sample
    assert psnr_db((decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy(), found.pixels) > 50
    code, out, _ = cli("inspect", "new")
    assert code == 0
    assert "vae of taesd (sha256 " in out


@pytest.mark.parametrize(("storage", "target"), [(Storage.INT8, "onnxruntime"), (Storage.FLOAT16, "cuda")])
def test_what_has_to_be_calibrated_is_left_in_fp32(storage: Storage, target: str, tiny_int8: Bundle) -> None:
    """A decoder in INT8, and FP16 where an engine computes in it."""
    components = tiny_int8.manifest.components
    changed = {**components, "vae_decoder": replace(components["vae_decoder"], storage=storage)}
    bundle = Bundle(tiny_int8.path, replace(tiny_int8.manifest, components=changed, target=target))
    assert storages_of(bundle)(bundle.component("vae_decoder")).storage is Storage.FLOAT32
