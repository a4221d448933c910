"""A Stable Diffusion checkpoint, loaded into PyTorch modules from a diffusers folder or a hub id.

One variant of each component is read, as FP32 whatever it is stored as; missing or unexpected weights are an error.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Source
from mezzotint.bundle.source_hash import weights_sha256
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.bundle.weight_files import COMPONENTS, PLAIN, Weights, choose_weights, local_names, weight_paths
from mezzotint.errors import MezzotintError

from .component_classes import check_classes
from .effective_config import effective_config, effective_scheduler_config
from .hub import download
from .json_file import read_object
from .known_options import check_components
from .load_module import load_module
from .pipeline_index import PipelineIndex, read_index
from .quiet import quiet

__all__ = ["Checkpoint", "load_checkpoint", "resolve_folder"]

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_TEXTS = ("*.json", *(f"{name}/*" for name in (*COMPONENTS, "tokenizer", "scheduler")))
_LOADERS = ("diffusers", "diffusers.utils.import_utils", "transformers")


@dataclass(frozen=True)
class Checkpoint:
    """The modules in eval mode, FP32, on the CPU; `folder` holds the tokenizer and the scheduler's config."""

    folder: Path
    index: PipelineIndex
    source: Source
    text_encoder: Any  # transformers.CLIPTextModel
    unet: Any  # diffusers.UNet2DConditionModel
    vae: Any  # diffusers.AutoencoderKL

    def config(self, name: str) -> dict[str, Any]:
        """A component's effective config: what its config.json says, and the defaults of what it does not say."""
        return effective_config(name, read_object(self.folder / name / "config.json"))

    @property
    def pipeline_class(self) -> str:
        """The pipeline of diffusers, and of Optimum, that the bundle is for."""
        return self.index.bundle_class(self.geometry.unet_channels, self.geometry.latent_channels)

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """The scheduler's effective config, as the pipeline's constructor leaves it."""
        stated = read_object(self.folder / "scheduler" / "scheduler_config.json")
        return effective_scheduler_config(stated, self.index.scheduler_class(), self.pipeline_class)

    @property
    def geometry(self) -> Geometry:
        """Sizes from the configs."""
        return Geometry.from_configs(self.config("unet"), self.config("vae"))


def load_checkpoint(model: str, variant: str | None = None, folder: Path | None = None) -> Checkpoint:
    """Load a diffusers folder or a hub id, which lies in `folder` if that is known already.

    `variant` names the weights to take where there are several (see `choose_weights`). Raises MezzotintError for
    everything that is not a whole SD checkpoint.
    """
    folder = folder or resolve_folder(model, variant)
    texts = (path for pattern in _TEXTS for path in folder.glob(pattern))
    check_no_pointers(path for path in texts if path.suffix in (".json", ".txt"))
    index = read_index(folder)
    check_classes(folder)
    check_components(folder)
    weights = choose_weights(str(folder), local_names(folder), variant)
    files = {name: weight_paths(folder, chosen) for name, chosen in weights.items()}
    with quiet(*_LOADERS):
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

    with quiet(*_LOADERS), _no_progress_bar():
        text_encoder, unet, vae = (
            load_module(kind, folder / name, files[name])
            for name, kind in (("text_encoder", CLIPTextModel), ("unet", UNet2DConditionModel), ("vae", AutoencoderKL))
        )
    return Checkpoint(
        folder=folder,
        index=index,
        source=_source(model, folder, variant, weights),
        text_encoder=text_encoder,
        unet=unet,
        vae=vae,
    )


def _source(model: str, folder: Path, variant: str | None, weights: Mapping[str, Weights]) -> Source:
    name = folder.resolve().name if Path(model).exists() else model
    variants = {part: chosen.variant for part, chosen in weights.items() if chosen.variant != PLAIN}
    return Source(name, weights_sha256(folder, variant), variants)


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


def resolve_folder(model: str, variant: str | None = None) -> Path:
    """A local folder as it is; a hub id ("owner/name") through the local hub cache, downloaded when it is not there.

    Of a hub repository only the weights of `variant` are downloaded; see `choose_weights`.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise MezzotintError(
            f"{model} is a file, expected a diffusers folder; convert single-file checkpoints with diffusers"
        )
    if not _HUB_ID.fullmatch(model):
        raise MezzotintError(f"{model} does not exist; expected a diffusers folder or a hub id such as owner/name")
    return download(model, variant)
