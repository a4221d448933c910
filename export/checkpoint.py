"""A Stable Diffusion checkpoint, loaded into PyTorch modules from a diffusers folder or a hub id.

Weights are read as FP32 whatever they are stored as. Missing or unexpected weights are an error: the loaders only warn,
and a text encoder saved by transformers 5 would be random numbers under transformers 4.57.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Source
from mezzotint.bundle.source_hash import weights_sha256
from mezzotint.errors import MezzotintError

from .quiet import quiet

__all__ = ["PIPELINE_CLASS", "Checkpoint", "load_checkpoint", "resolve_folder"]

PIPELINE_CLASS = "StableDiffusionPipeline"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_LOADERS = ("diffusers", "diffusers.utils.import_utils", "transformers")
_HUB_PATTERNS = ["model_index.json", "*/*.json", "*/*.txt", "*/*.safetensors"]


@dataclass(frozen=True)
class Checkpoint:
    """The modules in eval mode, FP32, on the CPU; `folder` holds the tokenizer and the scheduler's config."""

    folder: Path
    source: Source
    text_encoder: Any  # transformers.CLIPTextModel
    unet: Any  # diffusers.UNet2DConditionModel
    vae: Any  # diffusers.AutoencoderKL

    def config(self, name: str) -> dict[str, Any]:
        """A component's config.json as the checkpoint has it, without the path that it was once loaded from."""
        data: dict[str, Any] = json.loads((self.folder / name / "config.json").read_text(encoding="utf-8"))
        return {key: value for key, value in data.items() if key != "_name_or_path"}

    @property
    def geometry(self) -> Geometry:
        """Sizes from the configs."""
        return Geometry.from_configs(dict(self.unet.config), dict(self.vae.config))


def load_checkpoint(model: str) -> Checkpoint:
    """Load a diffusers folder or a hub id. Raises MezzotintError for everything that is not a whole SD checkpoint."""
    folder = resolve_folder(model)
    _check_family(folder)
    with quiet(*_LOADERS):
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

    with quiet(*_LOADERS), _no_progress_bar():
        return Checkpoint(
            folder=folder,
            source=Source(folder.resolve().name if Path(model).exists() else model, weights_sha256(folder)),
            text_encoder=_load_module(CLIPTextModel, folder / "text_encoder", "dtype"),
            unet=_load_module(UNet2DConditionModel, folder / "unet", "torch_dtype"),
            vae=_load_module(AutoencoderKL, folder / "vae", "torch_dtype"),
        )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers 5 draws one for every module that it loads; ours says what is being done already."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def resolve_folder(model: str) -> Path:
    """A local folder as it is; a hub id ("owner/name") through the local hub cache, downloaded when it is not there."""
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise MezzotintError(
            f"{model} is a file, expected a diffusers folder; convert single-file checkpoints with diffusers"
        )
    if not _HUB_ID.fullmatch(model):
        raise MezzotintError(f"{model} does not exist; expected a diffusers folder or a hub id such as owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_HUB_PATTERNS))
    except Exception as error:
        raise MezzotintError(
            f"{model} is no local folder, and the hub gave no copy of it ({type(error).__name__}); "
            "download it where there is a network and pass the folder"
        ) from error


def _check_family(folder: Path) -> None:
    index = folder / "model_index.json"
    try:
        name = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError) as error:
        raise MezzotintError(f"{index} cannot be read ({error}); expected a diffusers folder") from None
    if name != PIPELINE_CLASS:
        raise MezzotintError(
            f"{folder} is a {name}, expected a {PIPELINE_CLASS}; only Stable Diffusion 1.x and 2.x export"
        )


def _load_module(kind: Any, folder: Path, dtype_option: str) -> Any:
    options = {dtype_option: torch.float32, "output_loading_info": True, "local_files_only": True}
    try:
        module, info = kind.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MezzotintError(f"{folder} cannot be loaded as a {kind.__name__} ({reason}); check the folder") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(str(name) for name in info.get(problem, ()))
        if names:
            raise MezzotintError(
                f"{folder}: {len(names)} {problem.replace('_keys', '')} weights, the first is {names[0]}; save the "
                "checkpoint again with the diffusers and transformers versions that are installed"
            )
    return module.eval()
