"""Everything that decides what the adapters' recipes make, in frozen values. The defaults are demo/adapters'."""

from dataclasses import asdict, dataclass
from typing import Any

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
ALL_LAYERS = (
    *ATTENTION,
    "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2",
    "conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trajectories:
    """What the teacher draws: guided runs of `steps` steps, kept in parts of `part` runs each.

    `distilled_steps` of all timesteps, evenly spaced, are those that a latent consistency model may be asked for
    (Luo et al. 2023, section 4.3); the runs visit every so manieth of them.
    """

    count: int = 1024
    part: int = 32
    steps: int = 8
    distilled_steps: int = 50
    guidance: float = 5.0
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """What decides a part's content: not how many parts there are."""
        return {key: value for key, value in asdict(self).items() if key != "count"}


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How an adapter is fitted: `modules` are the ends of the names of the layers that get factors of `rank`."""

    rank: int
    modules: tuple[str, ...]
    steps: int
    learning_rate: float
    batch: int = 32
    warm_up_steps: int = 20
    average_decay: float = 0.98
    seed: int = 0
    log_every_steps: int = 20
    save_every_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Distilling:
    """`served` are the numbers of steps that the adapter is to draw in, each as likely in training.

    `renoised_share` of the states are the end of a run with new noise on it, as the sampler makes them, instead of
    states of the run. `huber` is the c of Song and Dhariwal 2023, equation 7, as diffusers' script has it.
    """

    served: tuple[int, ...] = (4, 8)
    renoised_share: float = 0.5
    huber: float = 0.001


@dataclass(frozen=True, kw_only=True)
class Style:
    """Pictures in two colours: their brightness from `dark` to `light`, 8 bits each."""

    dark: tuple[int, int, int] = (24, 38, 92)
    light: tuple[int, int, int] = (252, 240, 214)
    pictures: int = 256
    empty_caption_share: float = 0.12
    snr_limit: float = 5.0
    weight_limit: float = 8.0


TRAJECTORIES = Trajectories()
LCM = Fitting(rank=14, modules=ALL_LAYERS, steps=480, learning_rate=1e-3)
STYLE = Fitting(rank=8, modules=ATTENTION, steps=320, learning_rate=2e-3)
DISTILLING = Distilling()
DUOTONE = Style()
