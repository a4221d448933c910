"""What is called INT8 runs in integer kernels, by each engine's own record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.quantize import audit_bundle
from mezzotint.runtime import Bundle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
INTEGER_OPERATORS = ("QLinearConv", "MatMulIntegerToFloat")
FEEDS: dict[str, Array] = {
    "sample": np.zeros((2, 4, 16, 16), dtype=np.float32),
    "timestep": np.asarray(500.0, dtype=np.float32),
    "encoder_hidden_states": np.zeros((2, 32, 256), dtype=np.float32),
}


def promised(bundle: Bundle) -> set[str]:
    """The nodes that the bundle calls INT8."""
    decisions = bundle.config("unet/quantization.json")
    return {name for name, decision in decisions.items() if decision["scheme"] == "w8a8"}


def test_onnxruntime_runs_one_integer_kernel_for_each(demo_int8: Callable[[str], Bundle], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    bundle = demo_int8("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(bundle.graph_path("unet"), options, providers=["CPUExecutionProvider"])
    session.run(None, FEEDS)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    kernels = [event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time")]
    assert len(promised(bundle)) > 30
    assert sum(kernels.count(operator) for operator in INTEGER_OPERATORS) == len(promised(bundle))


def test_openvino_runs_integer_kernels_for_nearly_all(demo_int8: Callable[[str], Bundle]) -> None:
    openvino = pytest.importorskip("openvino")
    bundle = demo_int8("openvino")
    core = openvino.Core()
    model = core.read_model(bundle.graph_path("unet"))
    model.reshape({name: list(feed.shape) for name, feed in FEEDS.items()})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    precisions: dict[str, str] = {}
    for operation in compiled.get_runtime_model().get_ordered_ops():
        info = operation.get_rt_info()
        if "originalLayersNames" in info and "runtimePrecision" in info:
            layers = info["originalLayersNames"].astype(str).split(",")
            # The kernel of an attention names the factor behind its integer product, and not the product.
            named = [layer.removesuffix("/WithoutBiases").removesuffix(":scaled") for layer in layers]
            precisions |= dict.fromkeys(named, info["runtimePrecision"].astype(str))
    names = promised(bundle)
    assert len(names) > 30
    integer = {name for name in names if precisions.get(name) in ("i8", "u8")}
    assert len(integer) >= 0.99 * len(names), sorted(names - integer)


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_the_audit_says_the_same(target: str, demo_int8: Callable[[str], Bundle]) -> None:
    pytest.importorskip(target)
    audit = audit_bundle(demo_int8(target), target)
    assert set(audit.promised) == promised(demo_int8(target))
    assert audit.int8_coverage >= 0.99
    assert 0.5 < audit.int8_share < 1.0


def multiplications(checkpoint: Path) -> int:
    """Of one UNet call on FEEDS, as PyTorch makes them: convolutions, linears and attention's two products.

    Less what the exact rewrites save: up to the first look at the text both halves of guidance are one, and the 3x3
    convolution behind an upsampling is one of 2x2 to four times the channels, on h+1 by w+1 places of a h by w image.
    """
    import torch
    from diffusers.models.attention_processor import Attention
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    unet, counted, halves = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet"), 0.0, 0.5
    names = {module: name for name, module in unet.named_modules()}

    def count(module: torch.nn.Module, arguments: Any, named: Any, output: torch.Tensor) -> None:
        nonlocal counted, halves
        if names[module].endswith("attn2.to_k"):
            halves = 1.0
        if isinstance(module, torch.nn.Conv2d):
            products = output.numel() * module.weight[0].numel()
            if names[module].endswith("upsamplers.0.conv"):
                height, width = (size // 2 for size in output.shape[2:])
                products = 16 * output.shape[0] * module.weight[:, :, 0, 0].numel() * (height + 1) * (width + 1)
            counted += halves * products
        elif isinstance(module, torch.nn.Linear):
            counted += halves * output.numel() * module.in_features
        elif isinstance(module, Attention):
            context = named.get("encoder_hidden_states")
            counted += halves * 2 * output.numel() * (arguments[0] if context is None else context).shape[1]

    for module in unet.modules():
        module.register_forward_hook(count, with_kwargs=True)
    with torch.inference_mode():
        unet(*(torch.from_numpy(np.asarray(feed)) for feed in FEEDS.values()))
    return round(counted)


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_no_multiplication_is_left_out(target: str, demo_int8: Callable[[str], Bundle], demo_checkpoint: Path) -> None:
    pytest.importorskip(target)
    counted = sum(kernel.macs for kernel in audit_bundle(demo_int8(target), target).kernels)
    assert counted == pytest.approx(multiplications(demo_checkpoint), rel=1e-3)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_float_bundle_promises_nothing(backend: str, tiny_bundle: Bundle) -> None:
    pytest.importorskip(backend)
    audit = audit_bundle(tiny_bundle, backend)
    assert audit.promised == ()
    assert audit.int8_share == 0.0
