"""Everything that decides what the recipe makes, in one frozen value. The defaults are the embedded checkpoint's."""

from dataclasses import asdict, dataclass
from typing import Any

BACKGROUNDS = {  # name in captions, colour in 8 bits; the colours keep clear of the artwork's own pure ones
    "white": (255, 255, 255),
    "black": (16, 16, 18),
    "gray": (150, 152, 156),
    "red": (214, 62, 58),
    "orange": (244, 150, 60),
    "yellow": (250, 218, 94),
    "green": (104, 184, 108),
    "blue": (74, 134, 222),
    "purple": (140, 96, 196),
    "pink": (248, 176, 200),
}


@dataclass(frozen=True)
class Package:
    """A package of the npm registry at one version; `integrity` is its SHA-512 as package-lock.json has it."""

    name: str
    version: str
    integrity: str
    licence: str

    @property
    def folder(self) -> str:
        """Name and version without what a file name cannot have."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


STYLES = {  # the style's name in captions, and the icon set that is drawn in it
    "flat": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "MIT",
    ),
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        "Apache-2.0",
    ),
}
KEYWORDS = Package(
    "emojilib",
    "4.0.3",
    "sha512-KbWiYre9aRSaPbHrHZIz9zmoM+21LAsK1VFJtnTh1VCtWE/rNMDviGhQTmselFl95dhqtGlY22iH0leG5BuW0g==",
    "MIT",
)


@dataclass(frozen=True)
class AutoencoderTraining:
    """The KL autoencoder: its sizes, and how it is trained. The learning rate falls along half a cosine."""

    channels: tuple[int, ...] = (32, 64, 128)
    groups: int = 8
    steps: int = 1650
    batch: int = 16
    learning_rate: float = 8e-4
    warm_up_steps: int = 100
    newton_schulz_steps: int = 5
    gradient_weight: float = 0.4  # of the L1 distance between neighbouring pixels' differences, which keeps edges sharp
    kl_weight: float = 1e-4
    named_background_share: float = 0.5  # the others get a colour at random


@dataclass(frozen=True)
class Phase:
    """A stretch of training: the learning rate goes linearly from one value to the other.

    A weight says how often a picture of that group of concepts turns up in one pass over the pictures.
    """

    steps: int
    learning_rate: float
    last_learning_rate: float
    focus_weight: float
    rest_weight: float


@dataclass(frozen=True)
class PipelineTraining:
    """Text encoder and UNet: their sizes, and how they are trained together."""

    unet_channels: tuple[int, ...] = (128, 192, 256)  # no attention in the first block
    unet_groups: int = 32
    heads: int = 8
    text_width: int = 256
    text_layers: int = 4
    phases: tuple[Phase, ...] = (
        Phase(750, 1.5e-3, 1.5e-3, 1.0, 1.0),
        Phase(250, 1.5e-3, 1.5e-3, 2.0, 0.4),
        Phase(1220, 1.5e-3, 1.5e-5, 2.0, 0.4),
        Phase(1330, 6.4e-4, 0.0, 2.0, 0.1),
    )
    batch: int = 48
    warm_up_steps: int = 60
    newton_schulz_steps: int = 4
    ema_decay: float = 0.997
    empty_caption_share: float = 0.12  # so that it can be guided
    white_background_share: float = 0.2  # beside white's own share among all backgrounds
    snr_limit: float = 5.0
    weight_limit: float = 8.0

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)


@dataclass(frozen=True)
class Recipe:
    """The whole of it. `side_pixels` is the pictures' side, `icon_pixels` the longer side of what is drawn on them."""

    side_pixels: int = 64
    icon_pixels: int = 58
    vocabulary: int = 4096
    tokens: int = 32  # of a prompt, begin and end included
    autoencoder: AutoencoderTraining = AutoencoderTraining()
    pipeline: PipelineTraining = PipelineTraining()
    seed: int = 0
    log_every_steps: int = 25
    save_every_s: float = 60.0

    def as_json(self) -> dict[str, Any]:
        """What decides the result, as plain data with lists for tuples; how often work is saved does not."""
        return {key: _plain(value) for key, value in asdict(self).items() if key != "save_every_s"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


RECIPE = Recipe()
