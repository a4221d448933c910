"""Which rule decides: the last that matches, and never in silence."""

import pytest

from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.quantize.rules.autoencoder_tiny import tiny_decoder_rules
from mezzotint.quantize.rules.rule import Rule, decide
from mezzotint.quantize.rules.stable_diffusion import (
    STABLE_DIFFUSION,
    UNET_W8A8,
    VAE_DECODER_W8A8,
    with_last_layers,
)

DENY_ALL = Rule("*", NodeScheme.W8, "deny all")


def schemes(nodes: tuple[str, ...], *rules: Rule) -> dict[str, NodeScheme]:
    return {name: decision.scheme for name, decision in decide(nodes, rules).items()}


def test_later_rules_win() -> None:
    nodes = ("up.conv1/Conv", "up.conv2/Conv", "down.conv1/Conv")
    rules = (DENY_ALL, Rule("up.*", NodeScheme.W8A8, "a"), Rule("*.conv2", NodeScheme.FLOAT, "b"))
    assert schemes(nodes, *rules) == dict(zip(nodes, (NodeScheme.W8A8, NodeScheme.FLOAT, NodeScheme.W8), strict=True))
    assert schemes(nodes, *reversed(rules)) == dict.fromkeys(nodes, NodeScheme.W8)


def test_a_pattern_is_matched_with_the_module_path_and_not_the_operator() -> None:
    rules = (DENY_ALL, Rule("*/Conv", NodeScheme.W8A8, "never"), Rule("a.b", NodeScheme.FLOAT, "exactly this"))
    assert schemes(("a.b/Conv", "a.b.c/Conv", "za.b/Conv"), *rules) == {
        "a.b/Conv": NodeScheme.FLOAT,
        "a.b.c/Conv": NodeScheme.W8,
        "za.b/Conv": NodeScheme.W8,
    }


def test_patterns_are_globs_and_not_regular_expressions() -> None:
    rules = (DENY_ALL, Rule("block.conv", NodeScheme.W8A8, "a dot is a dot"), Rule("q[kv]", NodeScheme.FLOAT, "a set"))
    assert schemes(("blockXconv/Conv", "qk/MatMul", "qq/MatMul"), *rules) == {
        "blockXconv/Conv": NodeScheme.W8,
        "qk/MatMul": NodeScheme.FLOAT,
        "qq/MatMul": NodeScheme.W8,
    }


def test_a_node_that_no_rule_matches_is_an_error() -> None:
    with pytest.raises(
        MezzotintError, match=r"no rule matches the node time\.linear/Gemm; start the list with a deny-all"
    ):
        decide(["conv/Conv", "time.linear/Gemm"], [Rule("conv", NodeScheme.W8A8, "only this")])


def test_a_decision_names_the_rule_that_decided() -> None:
    decision = decide(["mid.conv1/Conv"], [DENY_ALL, Rule("mid.*", NodeScheme.W8A8, "the reason")])["mid.conv1/Conv"]
    assert decision.node == "mid.conv1/Conv"
    assert "mid.*" in decision.rule
    assert "the reason" in decision.rule
    assert (decision.activation, decision.output) == (None, None)


@pytest.mark.parametrize("rules", [UNET_W8A8, VAE_DECODER_W8A8], ids=["unet", "vae_decoder"])
def test_the_lists_start_with_deny_all(rules: tuple[Rule, ...]) -> None:
    assert rules[0].pattern == "*"
    assert rules[0].scheme is not NodeScheme.W8A8
    assert all(rule.why for rule in rules)


@pytest.mark.parametrize("last", ["up_blocks.3.resnets.2", "up_blocks.2.resnets.10"])
def test_the_last_convolution_before_conv_out_is_found_by_number(last: str) -> None:
    places = sorted({"up_blocks.0.resnets.2", "up_blocks.2.resnets.9", "down_blocks.9.resnets.9", last})
    nodes = [f"{place}.{conv}/Conv" for place in places for conv in ("conv1", "conv2")]
    rules = with_last_layers([DENY_ALL, Rule("*resnets*", NodeScheme.W8A8, "all")], nodes)
    assert [node for node, scheme in schemes(tuple(nodes), *rules).items() if scheme is NodeScheme.W8] == [
        f"{last}.conv2/Conv"
    ]


def test_the_feed_forwards_of_the_last_transformers_stay_out() -> None:
    blocks = (
        "down_blocks.9.attentions.0",
        "up_blocks.2.attentions.0",
        "up_blocks.10.attentions.0",
        "up_blocks.10.attentions.1",
    )
    nodes = tuple(f"{block}.transformer_blocks.0.ff.net.{place}/MatMul" for block in blocks for place in (0, 2))
    rules = with_last_layers([DENY_ALL, Rule("*.ff.*", NodeScheme.W8A8, "all")], (*nodes, "up_blocks.11.conv/Conv"))
    assert [node for node, scheme in schemes(nodes, *rules).items() if scheme is NodeScheme.W8] == [
        "up_blocks.10.attentions.0.transformer_blocks.0.ff.net.2/MatMul",
        "up_blocks.10.attentions.1.transformer_blocks.0.ff.net.2/MatMul",
    ]


def test_graphs_without_up_blocks_get_no_rule_more() -> None:
    assert with_last_layers([DENY_ALL], ["decoder.up_blocks.0.resnets.0.conv2/Conv"]) == (DENY_ALL,)


def test_a_small_autoencoders_decoder_has_rules_of_its_own() -> None:
    """Its layers are numbered, and which one is the last depends on how many there are."""
    layers = ("0", "2.conv.0", "2.conv.4", "2.skip", "4", "10.conv.2", "11")
    nodes = tuple(f"decoder.layers.{layer}/Conv" for layer in layers)
    for rules in (STABLE_DIFFUSION.by_role[Role.IMAGE_DECODER](nodes), tiny_decoder_rules(nodes)):
        found = {name.split("layers.")[1].split("/")[0]: scheme for name, scheme in schemes(nodes, *rules).items()}
        assert {layer for layer, scheme in found.items() if scheme is NodeScheme.W8A8} == {
            "2.conv.0",
            "2.conv.4",
            "4",
            "10.conv.2",
        }
        assert (found["0"], found["11"], found["2.skip"]) == (NodeScheme.FLOAT, NodeScheme.FLOAT, NodeScheme.W8)
    large = ("decoder.up_blocks.0.resnets.0.conv1/Conv", "decoder.conv_out/Conv")
    assert STABLE_DIFFUSION.by_role[Role.IMAGE_DECODER](large) == VAE_DECODER_W8A8
