"""What the compiler of TensorRT-RTX is asked, and what is made of its answers: planted faults are named."""

from pathlib import Path

import onnx_ir as ir
import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.engines.rtx.builder import build_engine
from mezzotint.engines.rtx.library import CAPABILITIES, check_capabilities, missing_builder
from mezzotint.engines.rtx.record import EngineLayer, EngineTensor
from mezzotint.errors import CheckFailed, MezzotintError
from mezzotint.quantize.graphs.attention_blocks import attention_blocks
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.contract import run_passes
from mezzotint.quantize.verify.audit import audit_compiled
from mezzotint.quantize.verify.audit_tensorrt import (
    CompiledAudit,
    audited_for,
    check_kernels,
    compile_component,
    unfused_blocks,
)
from mezzotint.quantize.verify.compile_shape import compile_shape
from mezzotint.quantize.verify.compiled_kernels import UNKNOWN, compiled_kernels, layer_precision
from mezzotint.quantize.verify.coverage import check_coverage
from mezzotint.runtime import Bundle
from tests.quantize.verify.planted_graphs import ATTENTION, NODE, OPERATOR, SHAPES, save_planted

COMPILED = pytest.mark.skipif(missing_builder() is not None, reason=f"tensorrt {missing_builder()}")


def layer(
    name: str, kind: str, inputs: str, weights: str = "", nodes: tuple[str, ...] = (), tactic: str = ""
) -> EngineLayer:
    """A layer with tensors of the named types."""
    tensors = [EngineTensor(name="t", dims=(2, 2), dtype=dtype) for dtype in inputs.split()]
    constants = [EngineTensor(name="w", dims=(2, 2), dtype=dtype) for dtype in weights.split()]
    scale = EngineTensor(name="s", dims=(1,), dtype="f32")
    return EngineLayer(
        name=name,
        kind=kind,
        tactic=tactic,
        inputs=tuple(tensors),
        constants=(*constants, scale),
        outputs=(),
        nodes=nodes,
    )


@pytest.mark.parametrize(
    ("inputs", "weights", "precision"),
    [
        ("int8", "int8", "int8"),
        ("f16 int8", "int8", "int8"),  # the first is what is added to the result
        ("fp8", "fp8", "fp8"),
        ("f16", "int8", "f16"),  # small weights alone
        ("int8", "f16", "f16"),
        ("f16 f16", "", "f16"),
        ("int8 int8", "", "int8"),
        ("int32 f32", "", "f32"),
        ("", "", UNKNOWN),
    ],
)
def test_a_layer_is_in_8_bits_where_activations_and_weight_are(inputs: str, weights: str, precision: str) -> None:
    assert layer_precision(layer("l", "gemm", inputs, weights)) == precision


def test_every_node_that_multiplies_has_the_kernel_that_multiplies_for_it() -> None:
    layers = (
        layer("prepares", "kgen", "f16", nodes=("a", "b")),
        layer("product", "gemm", "int8", "int8", nodes=("a", "b")),
        layer("attention", "kgen", "f16 f16 f16", nodes=("scores", "mixed"), tactic="_gemm_mha_v2_0x1"),
    )
    kernels = {one.node: one for one in compiled_kernels(layers, {"a": 5, "b": 7, "scores": 2, "lost": 1})}
    assert [(kernels[node].precision, kernels[node].macs) for node in ("a", "b")] == [("int8", 5), ("int8", 7)]
    assert (kernels["scores"].operation, kernels["scores"].precision) == ("kgen", "f16")
    assert (kernels["lost"].precision, kernels["lost"].macs) == (UNKNOWN, 1)
    assert (kernels["prepares"].macs, kernels["prepares"].time_ms) == (0, None)
    assert "product" not in kernels


def test_attention_is_fused_where_one_layer_holds_all_of_it(tmp_path: Path) -> None:
    (block,) = attention_blocks(ir.load(save_planted(tmp_path / "model.onnx", text=ATTENTION)).graph)
    assert block.nodes == ("scores", "shares", "mixed")
    whole = layer("one", "kgen", "f16", nodes=("scores", "shares", "mixed", "more"))
    parts = (layer("1", "gemm", "f16", nodes=("scores", "shares")), layer("2", "gemm", "f16", nodes=("mixed",)))
    assert unfused_blocks([block], [whole]) == ()
    assert unfused_blocks([block], parts) == (block,)


def test_an_attention_operator_is_fused_where_its_kernel_is_one_for_it(tmp_path: Path) -> None:
    (block,) = attention_blocks(ir.load(save_planted(tmp_path / "model.onnx", text=OPERATOR)).graph)
    assert block.nodes == ("attention",) * 3
    parts = tuple(layer(kind, kind, "f16 f16", nodes=("attention",)) for kind in ("gemm", "kgen", "gemm"))
    assert unfused_blocks([block], parts) == (block,)
    assert unfused_blocks([block], [layer("one", "kgen", "f16", nodes=("attention",), tactic="_gemm_mha_v2_0x1")]) == ()


def test_compute_capabilities_are_those_of_the_compiler_and_of_the_numbers() -> None:
    check_capabilities(tuple(CAPABILITIES))
    for wrong in (("9.0",), ("8.9", "x"), ()):
        with pytest.raises(MezzotintError) as caught:
            check_capabilities(wrong)
        assert caught.value.expected == tuple(CAPABILITIES)
    assert audited_for(Storage.INT8) == ("8.0", "8.6", "8.9", "12.0")
    assert audited_for(Storage.FP8) == ("8.9", "12.0")
    with pytest.raises(MezzotintError, match=r"8\.6 have no 8-bit floats"):
        check_kernels(("8.9", "8.6"), Storage.FP8)


@pytest.mark.skipif(missing_builder() is None, reason="the compiler is installed")
def test_without_the_compiler_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match=r"mezzotint\[tensorrt-rtx\]"):
        build_engine(save_planted(tmp_path / "model.onnx"), SHAPES, ("8.9",))


def compiled(folder: Path, *changes: tuple[str, str]) -> CompiledAudit:
    path = save_planted(folder / "model.onnx", *changes)
    return compile_component(path, "unet", SHAPES, (NODE,), "8.9")


@COMPILED
@pytest.mark.parametrize("capability", ["8.0", "8.6", "8.9", "12.0"])
def test_a_convolution_of_codes_is_compiled_to_integers(tmp_path: Path, capability: str) -> None:
    found = compile_component(save_planted(tmp_path / "model.onnx"), "unet", SHAPES, (NODE,), capability)
    assert (found.audit.int8_coverage, found.audit.int8_share) == (1.0, 1.0)
    assert sum(kernel.macs for kernel in found.audit.kernels) == 32 * 16 * 16 * 32 * 9
    assert found.warnings == {}
    assert found.engine_bytes > 1000
    record = found.record()
    assert (record.state, record.compute_capability) == ("built, never run", capability)
    check_coverage(found.audit)


@COMPILED
@pytest.mark.parametrize(
    ("change", "node", "why"),
    [
        (("scale, zero)", "scale, middle)"), r"q \(QuantizeLinear\)", "[Zz]ero point"),
        (("scale, zero)", "scale, three)"), r"q \(QuantizeLinear\)", "[Zz]ero point"),
        (("(dq, wdq)", "(dq, half)"), rf"{NODE} \(Conv\)", "must be of same type"),
    ],
    ids=["an unsigned zero point", "a zero point of 3", "two float types"],
)
def test_a_graph_that_the_compiler_refuses_is_named_with_its_node(
    tmp_path: Path, change: tuple[str, str], node: str, why: str
) -> None:
    with pytest.raises(CheckFailed, match=rf"refuses .*model\.onnx: {node}: .*{why}"):
        compiled(tmp_path, change)


@COMPILED
@pytest.mark.parametrize(
    "change",
    [("(dq, wdq)", "(dq, weight)"), ('["wdq"]', '["act"] t = Tanh(dq)\n["wdq"]')],
    ids=["a float weight", "an activation between"],
)
def test_codes_that_do_not_reach_the_convolution_are_named(tmp_path: Path, change: tuple[str, str]) -> None:
    changes = [change] if "weight" in change[1] else [change, ("(dq, wdq)", "(t, wdq)")]
    audit = compiled(tmp_path, *changes).audit
    assert (audit.int8_coverage, audit.int8_share) == (0.0, 0.0)
    assert [kernel.node for kernel in audit.broken] == [NODE]
    with pytest.raises(CheckFailed, match=f"unet on tensorrt: 0.0% .* INT8 .*first that did not is {NODE}"):
        check_coverage(audit)


@COMPILED
@pytest.mark.parametrize("dtype", ["float16", "float"])
@pytest.mark.parametrize("width", [1, 8, 9, 40, 256, 320])
def test_heads_of_any_width_are_built_and_the_audit_says_which_are_fused(
    tmp_path: Path, dtype: str, width: int
) -> None:
    found = compile_component(*save_operator(tmp_path, dtype, width), (), "8.9")
    is_fused = dtype == "float16" and 9 <= width <= 256
    assert [block.scores for block in found.unfused] == ([] if is_fused else ["attention"])
    assert found.record().fused_attentions == is_fused


@COMPILED
@pytest.mark.parametrize("width", [3, 20, 320])
def test_attention_that_is_written_out_is_built_for_heads_of_any_width(tmp_path: Path, width: int) -> None:
    path, name, shapes = save_operator(tmp_path, "float", width)
    target = find_target("tensorrt")
    ir.save(run_passes(target.lower_floats(ir.load(path)).model, target.halves).model, path)
    found = compile_component(path, name, shapes, (), "8.9")
    assert (found.attentions, len(found.unfused)) == (1, 0 if width == 20 else 1)


def save_operator(folder: Path, dtype: str, width: int) -> tuple[Path, str, dict[str, tuple[int, ...]]]:
    """The graph, a component's name and the shapes of its inputs."""
    text = OPERATOR.replace("float16", dtype).replace("64,8", f"64,{width}")
    return save_planted(folder / "model.onnx", text=text), "unet", dict.fromkeys("qkv", (2, 2, 64, width))


@COMPILED
@pytest.mark.parametrize("storage", [Storage.FLOAT16, Storage.INT8, Storage.FP8])
def test_a_shape_is_compiled_without_calibration(tiny_bundle: Bundle, storage: Storage) -> None:
    (found,) = compile_shape(tiny_bundle, "unet", storage, ("8.9",))
    assert found.audit.int8_coverage == 1.0
    assert found.audit.int8_share == (0.0 if storage is Storage.FLOAT16 else pytest.approx(0.84, abs=0.02))
    assert found.audit.called == ("FP8" if storage is Storage.FP8 else "INT8")
    assert found.attentions == 2
    assert found.warnings == {}
    assert audit_compiled(tiny_bundle, "unet", ("8.9",))[0].audit.promised == ()
