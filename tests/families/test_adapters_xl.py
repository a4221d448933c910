"""Adapters and words for Stable Diffusion XL: kohya's names of the latent diffusion code, and two text encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from mezzotint.adapters.embedding import GivenEmbedding
from mezzotint.adapters.given import GivenAdapter
from mezzotint.decibel import psnr_db
from mezzotint.quantize import add_embeddings, add_live_adapters, fuse_adapters
from mezzotint.runtime import Bundle, TextToImage
from tests.adapters.made import Made, make, module_weights, save
from tests.adapters.merged import gentle
from tests.export.single_files.ldm import ldm_unet
from tests.families.tiny_xl import PROMPT, RUN, DiffusersXL

PARTS: dict[str, tuple[Any, str]] = {
    "unet": (UNet2DConditionModel, "lora_unet_"),
    "text_encoder": (CLIPTextModel, "lora_te1_"),
    "text_encoder_2": (CLIPTextModelWithProjection, "lora_te2_"),
}


def names_of(part: str, module: Any) -> dict[str, str]:
    """What kohya calls each module: of the UNet by the latent diffusion code, which the numbers in it tell."""
    weights = module_weights(module)
    if part != "unet":
        return {name: name for name in weights if name != "text_projection"}
    keys = {tensor.numpy().tobytes(): key.removesuffix(".weight") for key, tensor in ldm_unet(module, "").items()}
    return {name: keys[weight.detach().numpy().tobytes()] for name, weight in weights.items()}


@pytest.fixture(scope="module")
def adapted(
    xl_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A file of kohya's for all three models, and the models that torch has merged it into."""
    checkpoint, folder = xl_checkpoint("base"), tmp_path_factory.mktemp("adapters")
    made: dict[str, Made] = {}
    models: dict[str, Any] = {}
    for seed, (part, (kind, prefix)) in enumerate(PARTS.items()):
        models[part] = kind.from_pretrained(checkpoint / part)
        names, weights = names_of(part, models[part]), module_weights(models[part])
        own = gentle(make("lora", {name: tuple(weights[name].shape) for name in names}, seed=seed))
        with torch.no_grad():
            for name, one in own.items():
                weights[name].copy_(one.merged(weights[name]))
        made |= {prefix + names[name].replace(".", "_"): one for name, one in own.items()}
    return save(folder / "style.safetensors", made, lambda name: name), models


@pytest.mark.slow
def test_images_are_those_of_diffusers_in_the_weights_and_beside_them(
    adapted: tuple[Path, dict[str, Any]],
    xl_bundle: Callable[[str], Bundle],
    xl_checkpoint: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    file, models = adapted
    expected = DiffusersXL(xl_checkpoint("base"), **models).text(PROMPT, **RUN)
    source, given = xl_bundle("base").path, [GivenAdapter(path=file)]
    fused, live = fuse_adapters(source, given, tmp_path / "fused"), add_live_adapters(source, given, tmp_path / "live")
    with TextToImage.load(fused.path, backend="onnxruntime") as pipe:
        assert psnr_db(expected, pipe(PROMPT, **RUN).pixels) >= 80
    with TextToImage.load(live.path, backend="onnxruntime") as pipe:
        assert psnr_db(expected, pipe(PROMPT, loras={"style": 1.0}, **RUN).pixels) >= 80
        assert psnr_db(expected, pipe(PROMPT, **RUN).pixels) < 60


@pytest.mark.slow
def test_a_word_of_two_text_encoders(
    xl_bundle: Callable[[str], Bundle], xl_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """diffusers loads each half by itself."""
    import diffusers

    generator = torch.Generator().manual_seed(0)
    pair = {key: torch.randn(2, width, generator=generator) * 0.1 for key, width in (("clip_l", 32), ("clip_g", 64))}
    save_file(pair, tmp_path / "cat.safetensors")
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(xl_checkpoint("base"), add_watermarker=False)
    pipe.load_textual_inversion(pair["clip_l"], "<cat>", text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
    pipe.load_textual_inversion(pair["clip_g"], "<cat>", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(RUN["seed"])
    options = {"num_inference_steps": RUN["steps"], "guidance_scale": 5.0, "output_type": "np"}
    expected = pipe("a <cat> on a table", generator=generator, **options).images
    given = GivenEmbedding(path=tmp_path / "cat.safetensors", word="<cat>")
    bundle = add_embeddings(xl_bundle("base").path, [given], tmp_path / "out")
    with TextToImage.load(bundle.path, backend="onnxruntime") as ours:
        assert psnr_db(expected, ours("a <cat> on a table", **RUN).pixels) >= 80
