"""The last stage: a folder that diffusers loads, in 16 bits, with the notices of the works that it was trained on."""

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from mezzotint.atomic_folder import replace_folder
from mezzotint.export.files.quiet import quiet

from .autoencoder import build_autoencoder
from .config import KEYWORDS, STYLES, Recipe
from .diffusion import SCHEDULE
from .latents import load_latents
from .networks import build_text_encoder, build_unet
from .workspace import Workspace

_MARKER = "model_index.json"
_NOTICES = ("LICENSE", "info.json", "package.json")
_LICENCE_TEXTS = Path(__file__).parents[1] / "checkpoint" / "licences"  # of artwork whose packages have none


def assemble(workspace: Workspace, recipe: Recipe) -> None:
    """Write the checkpoint."""
    latents = load_latents(workspace.latents)
    averaged = torch.load(workspace.averaged, map_location="cpu", weights_only=True)
    unet = build_unet(recipe.pipeline, latents.scaled.shape[-1])
    unet.load_state_dict(averaged["unet"])
    text_encoder = build_text_encoder(recipe)
    text_encoder.load_state_dict(averaged["text_encoder"])
    vae = build_autoencoder(recipe.autoencoder, recipe.side_pixels)
    vae.load_state_dict(load_file(workspace.autoencoder / "diffusion_pytorch_model.safetensors"))
    vae.register_to_config(scaling_factor=latents.scaling_factor)
    pipe = StableDiffusionPipeline(
        vae=vae.to(memory_format=torch.contiguous_format),
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(workspace.tokenizer, local_files_only=True),
        unet=unet.to(memory_format=torch.contiguous_format),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with replace_folder(workspace.checkpoint, marker=_MARKER, overwrite=True) as staging:
        with quiet("diffusers.models.modeling_utils"):  # which warns of modules to keep in FP32, and names none
            pipe.to(torch.float16)
        pipe.save_pretrained(staging)
        shutil.rmtree(staging / "tokenizer")  # the library writes it in the form of its own version
        shutil.copytree(workspace.tokenizer, staging / "tokenizer")
        _copy_notices(workspace, staging / "licences")


def _scheduler() -> Any:
    return DDIMScheduler(
        **SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing"
    )


def _copy_notices(workspace: Workspace, folder: Path) -> None:
    folder.mkdir()
    for package in (*STYLES.values(), KEYWORDS):
        for name in _NOTICES:
            source = workspace.package(package) / name
            if source.is_file():
                shutil.copy(source, folder / f"{package.folder}.{name}")
    for text in _LICENCE_TEXTS.glob("*.LICENSE"):
        shutil.copy(text, folder)
