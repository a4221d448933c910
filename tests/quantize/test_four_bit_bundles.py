"""Bundles in int4-weights: the tiny pipeline end to end, what a bundle says of itself, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from mezzotint.adapters.given import GivenAdapter
from mezzotint.bundle.decisions import DECISIONS_FILE, read_decisions
from mezzotint.bundle.declined import DECLINED_FILE, read_declines
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError
from mezzotint.quantize import CalibrationSettings, audit_bundle, check_coverage, fuse_adapters, quantize_bundle
from mezzotint.quantize.decide.four_bits import FourBitReason, FourBitSettings
from mezzotint.runtime import Bundle, TextToImage
from tests.adapters.merged import Merged
from tests.conftest import MakeOnce
from tests.quantize.adapt.conftest import adapter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
PROMPTS = ("a red apple", "a dog on a blue background")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=4, guidance=3.0, calls=8, seed=3)
TARGETS = ("openvino", "onnxruntime")

Make = Callable[..., Bundle]


@pytest.fixture(scope="module")
def quantized(make_once: MakeOnce, tiny_bundle: Bundle) -> Make:
    """Bundles by target, group and rank, each made once."""

    def make(target: str, group: int = 32, rank: int = 0) -> Bundle:
        def fill(folder: Path) -> None:
            quantize(tiny_bundle, folder, target=target, four_bits=FourBitSettings(group=group, rank=rank))

        return Bundle.open(make_once(f"tiny-int4-{target}-{group}-{rank}", fill))

    return make


def quantize(source: Bundle, output: Path, **options: Any) -> Bundle:
    given: dict[str, Any] = {"recipe": "int4-weights", "target": "onnxruntime", "prompts": PROMPTS}
    return quantize_bundle(source.path, output, settings=SETTINGS, **(given | options))


def four_bit_values(bundle: Bundle, component: str) -> dict[str, int]:
    """Bytes of the constants that MatMulNBits reads as codes and scales, by node."""
    graph = ir.load(bundle.graph_path(component)).graph
    found = {}
    for node in graph:
        if node.op_type == "MatMulNBits":
            codes = node.inputs[1]
            assert codes is not None
            assert codes.const_value is not None
            scales = graph.initializers[str(codes.name).replace(":four_bits", ":group_scales")].const_value
            assert scales is not None
            found[str(node.name).removesuffix(":MatMulNBits")] = codes.const_value.nbytes + scales.nbytes
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_linears_are_in_4_bits_and_convolutions_in_int8(target: str, quantized: Make, tiny_int8: Bundle) -> None:
    bundle = quantized(target)
    bundle.verify()
    for name in ("unet", "text_encoder"):
        decisions = read_decisions(bundle.path / name / DECISIONS_FILE)
        narrow = [node for node, one in decisions.items() if one.scheme is NodeScheme.W4]
        assert sorted(four_bit_values(bundle, name)) == sorted(narrow)
        record = bundle.component(name).four_bits
        assert record is not None
        assert (record.group, record.rank, record.linears, record.left) == (32, 0, len(narrow), 0)
    decisions = read_decisions(bundle.path / "unet" / DECISIONS_FILE)
    before = read_decisions(tiny_int8.path / "unet" / DECISIONS_FILE)
    assert decisions.keys() == before.keys()
    for node, decision in decisions.items():
        if node.endswith("/Conv") or before[node].scheme is NodeScheme.FLOAT:
            assert decision.scheme is before[node].scheme, node
        else:
            assert decision.scheme is NodeScheme.W4, node


def test_linears_take_at_most_six_tenths_of_int8s_bytes(quantized: Make) -> None:
    for name in ("unet", "text_encoder"):
        bundle = quantized("onnxruntime")
        sizes = {str(node.name): node for node in ir.load(bundle.graph_path(name)).graph}
        for linear, size in four_bit_values(bundle, name).items():
            node = sizes[f"{linear}:MatMulNBits"]
            channels, outputs = node.attributes["K"].as_int(), node.attributes["N"].as_int()
            assert size <= 0.6 * (channels * outputs + 4 * outputs)  # S8 codes, and a scale in FP32 for each output


@pytest.mark.parametrize("target", TARGETS)
def test_it_generates_and_its_audit_says_what_is_what(target: str, quantized: Make) -> None:
    bundle = quantized(target)
    for name in ("unet", "text_encoder"):
        parity, audit = bundle.component(name).parity, audit_bundle(bundle, target, name)
        assert parity is not None
        assert parity.sqnr_db is not None
        assert parity.sqnr_db > 15
        check_coverage(audit)
        assert (audit.int8_coverage, audit.four_bit_coverage) == (1.0, 1.0)
        assert len(audit.in_four_bits) == bundle.component(name).four_bits.linears  # type: ignore[union-attr]
        assert not set(audit.in_four_bits).intersection(audit.promised)
        assert 0.0 < audit.four_bit_share < 1.0
        assert not any(kernel.is_integer for kernel in audit.kernels if kernel.weight_bits == 4)
    with TextToImage.load(bundle.path) as pipe:
        pixels = pipe("a red apple", steps=4, guidance=3.0).pixels
    assert pixels.shape == (1, 16, 16, 3)


def test_a_correction_is_higher_fidelity(quantized: Make) -> None:
    plain, corrected = quantized("onnxruntime"), quantized("onnxruntime", rank=4)
    for name in ("unet", "text_encoder"):
        before, after = (one.component(name).parity for one in (plain, corrected))
        assert before is not None
        assert after is not None
        assert (after.sqnr_db or 0.0) > (before.sqnr_db or 0.0)
        record = corrected.component(name).four_bits
        assert record is not None
        assert record.rank == 4
        check_coverage(audit_bundle(corrected, "onnxruntime", name))


def test_groups_that_do_not_divide_leave_the_linear_in_8_bits(quantized: Make) -> None:
    """The tiny UNet has linears of 32 and of 64 inputs; groups of 64 fit the latter alone."""
    bundle = quantized("openvino", group=64)
    declined = read_declines(bundle.path / "unet" / DECLINED_FILE)["four-bit-weights"]
    decisions = read_decisions(bundle.path / "unet" / DECISIONS_FILE)
    assert declined
    for one in declined:
        assert one.reason == FourBitReason.UNEVEN_GROUPS
        assert "in groups of 64" in one.got
        assert decisions[one.node].scheme in (NodeScheme.W8, NodeScheme.W8A8)
    record = bundle.component("unet").four_bits
    assert record is not None
    assert record.left == len(declined)
    assert record.linears > 0
    check_coverage(audit_bundle(bundle, "openvino"))


def test_the_same_inputs_give_the_same_bytes(
    quantized: Make, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without the cache that the first run left."""
    first = quantized("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    again = quantize(tiny_bundle, tmp_path / "again")
    assert again.manifest.components == first.manifest.components


def test_the_card_and_the_manifest_say_it(quantized: Make) -> None:
    bundle = quantized("onnxruntime", rank=4)
    card = (bundle.path / "README.md").read_text(encoding="utf-8")
    stated = json.loads(bundle.manifest.to_json())["components"]["unet"]["four_bits"]
    record = bundle.component("unet").four_bits
    assert record is not None
    assert stated == {"group": 32, "rank": 4, "linears": record.linears, "left": 0, "integer": record.integer}
    assert f"* unet: {record}" in card
    assert "4-bit weights, groups of 32, corrected by 16-bit branches of rank 4" in card


def test_one_component_alone(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = quantize(tiny_bundle, tmp_path / "one", recipe="fp16", overrides={"text_encoder": "int4-weights"})
    storages = {name: str(one.storage) for name, one in bundle.manifest.components.items()}
    assert storages["text_encoder"] == "int4-weights"
    assert storages["unet"] == "float16"


@pytest.mark.parametrize("target", ["cuda", "tensorrt"])
def test_gpu_targets_refuse_it(target: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match=f"{target} cannot take .* in int4-weights: .*CPU engines alone"):
        quantize(tiny_bundle, tmp_path / "none", target=target)
    assert not (tmp_path / "none").exists()


def test_options_without_effect_are_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError) as caught:
        quantize(tiny_bundle, tmp_path / "none", recipe="int8", four_bits=FourBitSettings())
    assert (caught.value.what, caught.value.got) == ("--int4-group and --int4-rank", "no component in int4-weights")
    with pytest.raises(MezzotintError) as caught:
        quantize(tiny_bundle, tmp_path / "none", min_sqnr_db=20.0)
    assert "--min-sqnr-db" in (caught.value.what or "")
    with pytest.raises(MezzotintError, match="int4-weights needs calibration prompts"):
        quantize(tiny_bundle, tmp_path / "none", prompts=())


def test_nothing_is_fused_into_4_bit_weights(
    quantized: Make, tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = adapter(tmp_path / "style.safetensors", Merged(tiny_checkpoint), "lora")
    bundle = quantized("onnxruntime")
    with pytest.raises(MezzotintError) as caught:
        fuse_adapters(bundle.path, [GivenAdapter(path=path)], tmp_path / "fused", base=tiny_bundle.path)
    assert (caught.value.where, caught.value.got) == (bundle.path, "int4-weights")
    assert "--live" in (caught.value.advice or "")
    assert not (tmp_path / "fused").exists()
