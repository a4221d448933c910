"""What of a Stable Diffusion checkpoint is quantized.

The exclusions are the consensus of the published lists (research: modelopt, deepcompressor, MixDQ, INC, Apple) for
Stable Diffusion UNets and VAEs.
"""

import re
from collections.abc import Iterable, Sequence

from mezzotint.bundle.precision import NodeScheme
from mezzotint.families.family import Role

from .autoencoder_tiny import is_tiny_decoder, tiny_decoder_rules
from .rule import FamilyRules, Rule

UNET_W8A8: tuple[Rule, ...] = (
    Rule("*", NodeScheme.W8, "deny all: only what follows computes in integers"),
    Rule("*.resnets.*.conv[12]", NodeScheme.W8A8, "40 % of the multiplications of SD 1.5"),
    Rule("*.upsamplers.*.conv", NodeScheme.W8A8, "8 %, and robust"),
    Rule("*.downsamplers.*.conv", NodeScheme.W8A8, "robust in MixDQ's table"),
    Rule("*.proj_in", NodeScheme.W8A8, "input is a GroupNorm's output"),
    Rule("*.proj_out", NodeScheme.W8A8, "robust in MixDQ's table"),
    Rule("*.attn1.to_[qkv]", NodeScheme.W8A8, "input is a LayerNorm's output"),
    Rule("*.attn2.to_q", NodeScheme.W8A8, "input is a LayerNorm's output"),
    Rule("*.attn[12].to_out.0", NodeScheme.W8A8, "an average of values"),
    Rule("*.ff.net.0.proj*", NodeScheme.W8A8, "13 % of the multiplications, in one linear or in two"),
    Rule("*.ff.net.2", NodeScheme.W8A8, "6 %; outliers in its channels are smoothed into GEGLU's first linear"),
    Rule("down_blocks.0.resnets.0.conv2", NodeScheme.W8, "51 dB alone in MixDQ's table: among the most sensitive"),
    Rule("conv_in", NodeScheme.FLOAT, "0.01 % of the multiplications, the most sensitive of all"),
    Rule("conv_out", NodeScheme.FLOAT, "0.01 % of the multiplications, its error is the image's"),
    Rule("time_embedding.*", NodeScheme.FLOAT, "no spatial input, and every block hears it"),
)

CONTROL_W8A8: tuple[Rule, ...] = (
    *UNET_W8A8,
    Rule("controlnet_cond_embedding.*", NodeScheme.FLOAT, "the image comes in here; all else hears what is left of it"),
    Rule(
        "controlnet_down_blocks.*", NodeScheme.FLOAT, "trained from zero, with small weights: their error is the UNet's"
    ),
    Rule("controlnet_mid_block", NodeScheme.FLOAT, "as controlnet_down_blocks"),
)

_UP_CONVOLUTION = re.compile(r"(up_blocks\.(\d+)\.resnets\.(\d+)\.conv2)/")
_UP_FEED_FORWARD = re.compile(r"(up_blocks\.(\d+)\.)attentions\..*\.ff\.net\.2/")

VAE_DECODER_W8A8: tuple[Rule, ...] = (
    Rule("*", NodeScheme.W8, "deny all: only what follows computes in integers"),
    Rule("decoder.*.resnets.*.conv[12]", NodeScheme.W8A8, "nearly all of the multiplications"),
    Rule("decoder.*.upsamplers.*.conv", NodeScheme.W8A8, "large and robust"),
    Rule("decoder.conv_out", NodeScheme.FLOAT, "its error is the image's"),
    Rule("post_quant_conv", NodeScheme.FLOAT, "four channels, and every layer hears it"),
)


def with_last_layers(rules: Sequence[Rule], nodes: Iterable[str]) -> tuple[Rule, ...]:
    """The rules, and two more for a UNet's last layers, whose places depend on its depth.

    No layer after them averages their error: on the embedded checkpoint they cost more noise per multiplication than
    any layer before them (docs/quantization.md).
    """
    found = list(nodes)
    more = []
    feed_forwards = [match for node in found if (match := _UP_FEED_FORWARD.match(node))]
    if feed_forwards:
        last = max(feed_forwards, key=lambda match: int(match[2]))
        more.append(
            Rule(f"{last[1]}attentions.*.ff.net.2", NodeScheme.W8, "tokens with outliers, in the last transformers")
        )
    convolutions = [match for node in found if (match := _UP_CONVOLUTION.match(node))]
    if convolutions:
        last = max(convolutions, key=lambda match: (int(match[2]), int(match[3])))
        more.append(Rule(last[1], NodeScheme.W8, "no layer after it averages its error: 1 dB of all"))
    return (*rules, *more)


def _unet(nodes: Sequence[str]) -> tuple[Rule, ...]:
    return with_last_layers(UNET_W8A8, nodes)


def vae_decoder_rules(nodes: Sequence[str]) -> tuple[Rule, ...]:
    """Of a VAE's decoder, whichever family it serves, by its `nodes`."""
    return tiny_decoder_rules(nodes) if is_tiny_decoder(nodes) else VAE_DECODER_W8A8


def control_rules(_nodes: Sequence[str]) -> tuple[Rule, ...]:
    """Of a ControlNet, which has the layers of a UNet's first half, and some before and behind them."""
    return CONTROL_W8A8


STABLE_DIFFUSION = FamilyRules(
    "stable-diffusion",
    {Role.DENOISER: _unet, Role.IMAGE_DECODER: vae_decoder_rules, Role.CONTROL: control_rules},
)
