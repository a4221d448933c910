"""What of a checkpoint is to be taken from elsewhere, and what is to be taken of a single file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mezzotint.families.part_folders import PARTS

EMA, PLAIN = "ema", "plain"
WEIGHTS: Final = (EMA, PLAIN)


@dataclass(frozen=True, kw_only=True)
class Origins:
    """`config` is a folder of configs and tokenizer for a single file whose structure is none of the published ones.

    `unet`, `vae` and the text encoders are files, folders or hub ids of that part; each takes the place of the
    checkpoint's own. `weights` chooses between a training's averages ("ema") and the weights themselves ("plain"),
    where a single file has both; None takes the averages. `force_vae` takes a VAE that seems to be of other latents.
    """

    config: Path | None = None
    unet: Path | None = None
    vae: Path | None = None
    text_encoder: Path | None = None
    text_encoder_2: Path | None = None
    weights: str | None = None
    force_vae: bool = False

    @property
    def replaced(self) -> Mapping[str, Path]:
        """The parts that come from elsewhere, by their folder's name in a checkpoint."""
        parts = {part: getattr(self, part) for part in PARTS}
        return {part: path for part, path in parts.items() if path is not None}


OPTIONS: Final[Mapping[str, str]] = {
    "unet": "--unet FILE|DIR",
    "vae": "--vae FILE|DIR",
    "text_encoder": "--text-encoder FILE|DIR",
    "text_encoder_2": "--text-encoder-2 FILE|DIR",
}
"""How a part is given on the command line."""
