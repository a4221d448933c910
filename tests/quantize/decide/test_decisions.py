"""What becomes of every weighted node of the embedded UNet and VAE decoder."""

import re

import onnx_ir as ir
import pytest

from mezzotint.bundle.precision import NodeScheme
from mezzotint.quantize.graphs.weighted import WeightedNode, weighted_nodes
from mezzotint.quantize.rules.stable_diffusion import UNET_W8A8, VAE_DECODER_W8A8, decide
from mezzotint.runtime import Bundle

# Never 8-bit activations (research: the consensus of the published lists).
NEVER = re.compile(
    r"conv_in|conv_out|time_embedding\..*|.*\.time_emb_proj|.*\.conv_shortcut|.*\.attn2\.to_[kv]",
)
# Where nearly all of the multiplications are.
ALWAYS = re.compile(
    r"(?!down_blocks\.0\.).*\.resnets\.\d\.conv[12]|.*\.(up|down)samplers\.0\.conv|.*\.attn1\.to_[qkv]|.*\.attn2\.to_q"
    r"|.*\.ff\.net\.0\.proj",
)


def nodes_of(bundle: Bundle, name: str) -> tuple[WeightedNode, ...]:
    return weighted_nodes(ir.load(bundle.graph_path(name)).graph)


@pytest.fixture(scope="module")
def unet(demo_bundle: Bundle) -> tuple[WeightedNode, ...]:
    return nodes_of(demo_bundle, "unet")


def test_the_hard_exclusions_keep_float_activations(unet: tuple[WeightedNode, ...]) -> None:
    decisions = decide((item.name for item in unet), UNET_W8A8)
    excluded = [name for name in decisions if NEVER.fullmatch(name.partition("/")[0])]
    kinds = ("conv_in", "conv_out", "time_embedding.", "time_emb_proj", "conv_shortcut", "attn2.to_k", "attn2.to_v")
    assert all(any(kind in name for name in excluded) for kind in kinds)  # the patterns above find something
    assert [name for name in excluded if decisions[name].scheme is NodeScheme.W8A8] == []


def test_the_rest_computes_in_integers(unet: tuple[WeightedNode, ...]) -> None:
    decisions = decide((item.name for item in unet), UNET_W8A8)
    wanted = [name for name in decisions if ALWAYS.fullmatch(name.partition("/")[0])]
    assert len(wanted) > 30
    assert [name for name in wanted if decisions[name].scheme is not NodeScheme.W8A8] == []


def test_nearly_all_weights_of_the_unet_get_smaller(unet: tuple[WeightedNode, ...]) -> None:
    decisions = decide((item.name for item in unet), UNET_W8A8)
    small = sum(item.weight_array().size for item in unet if decisions[item.name].scheme is not NodeScheme.FLOAT)
    assert small > 0.95 * sum(item.weight_array().size for item in unet)


def test_the_decoder_keeps_its_last_convolution_in_floats(demo_bundle: Bundle) -> None:
    decisions = decide((item.name for item in nodes_of(demo_bundle, "vae_decoder")), VAE_DECODER_W8A8)
    assert decisions["decoder.conv_out/Conv"].scheme is NodeScheme.FLOAT
    assert NodeScheme.W8A8 in {decision.scheme for decision in decisions.values()}
