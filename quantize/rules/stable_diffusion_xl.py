"""What of a Stable Diffusion XL checkpoint is quantized: as of Stable Diffusion, and the embedding of sizes is not.

The same exclusions hold for both in the published lists (research: modelopt, deepcompressor). 73 % of the UNet's
multiplications are in linears, twice the share of Stable Diffusion 1.5.
"""

from collections.abc import Sequence

from mezzotint.bundle.precision import NodeScheme
from mezzotint.families.family import Role

from .rule import FamilyRules, Rule
from .stable_diffusion import UNET_W8A8, control_rules, vae_decoder_rules, with_last_layers

UNET_XL_W8A8: tuple[Rule, ...] = (
    *UNET_W8A8,
    Rule("add_embedding.*", NodeScheme.FLOAT, "as the time embedding: no spatial input, and every block hears it"),
)


def _unet(nodes: Sequence[str]) -> tuple[Rule, ...]:
    return with_last_layers(UNET_XL_W8A8, nodes)


def _control(nodes: Sequence[str]) -> tuple[Rule, ...]:
    return (*control_rules(nodes), UNET_XL_W8A8[-1])


STABLE_DIFFUSION_XL = FamilyRules(
    "stable-diffusion-xl",
    {Role.DENOISER: _unet, Role.IMAGE_DECODER: vae_decoder_rules, Role.CONTROL: _control},
)
