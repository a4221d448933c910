"""Makes what the peers run, each with its own tools from the same weights: `python -m ...peer_artefacts NAME ...`.

Runs in the environment of the peer. Every artefact is one function; the folder that it fills does not exist before.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.bundle.bundle import Bundle
from mezzotint.families.feeds import fitted
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.runtime.denoiser_calls import DenoiserCall
from mezzotint.runtime.text.prompts import read_prompts

from ..machine.versions import installed_versions
from .case import REFERENCE, Case
from .workload import Workload

_PACKAGES = ("optimum", "optimum-onnx", "optimum-intel", "nncf", "openvino", "openvino-genai", "onnxruntime", "torch")
_HYBRID_CALLS = 200  # optimum-intel's own default: UNet calls of consecutive steps, so of a few prompts
_NNCF_CALLS = 64  # UNet calls that it calibrates on; each is a whole guided step
_LARGE_LATENT = 64  # from this side on, calibrating like that would take an hour, and ranges do not change the speed
_LARGE_CALLS = 8


@dataclass(frozen=True)
class Inputs:
    """The checkpoint, our FP32 bundle of it, calibration prompts, and the folder to fill."""

    checkpoint: Path
    bundle: Path
    prompts: Path
    folder: Path


def _export_onnxruntime(inputs: Inputs) -> None:
    """Optimum's own export, as its users make it."""
    _optimum_cli("onnx", "--model", str(inputs.checkpoint), "--task", "text-to-image", str(inputs.folder))


def _export_cuda_half(inputs: Inputs) -> None:
    """The same in FP16, which Optimum traces on the GPU."""
    arguments = ("--model", str(inputs.checkpoint), "--task", "text-to-image", "--dtype", "fp16", "--device", "cuda")
    _optimum_cli("onnx", *arguments, str(inputs.folder))


def _export_openvino(inputs: Inputs) -> None:
    """FP32 weights: what it computes in is chosen when it is loaded."""
    arguments = ("--model", str(inputs.checkpoint), "--task", "text-to-image", "--weight-format", "fp32")
    _optimum_cli("openvino", *arguments, str(inputs.folder))


def _export_openvino_int8(inputs: Inputs) -> None:
    """optimum-intel's hybrid mode: convolutions and the like W8A8 after calibration, other weights alone in 8 bits."""
    intel = import_module("optimum.intel")
    calls = _LARGE_CALLS if _is_large(inputs) else _HYBRID_CALLS
    config = intel.OVWeightQuantizationConfig(
        bits=8, dataset=list(read_prompts(inputs.prompts)), num_samples=calls, quant_method="hybrid"
    )
    options = json.loads((inputs.checkpoint / "model_index.json").read_text(encoding="utf-8"))
    checker = {"safety_checker": None} if "safety_checker" in options else {}
    pipe = intel.OVPipelineForText2Image.from_pretrained(
        inputs.checkpoint, export=True, quantization_config=config, **checker
    )
    pipe.save_pretrained(inputs.folder)
    convert = import_module("optimum.exporters.openvino.convert")
    for name in ("tokenizer", "tokenizer_2"):  # in the form that GenAI reads
        if getattr(pipe, name, None) is not None:
            convert.export_tokenizer(getattr(pipe, name), inputs.folder / name)


def _quantize_with_nncf(inputs: Inputs) -> None:
    """NNCF's static INT8 of our own FP32 graph, calibrated on guided calls along generated trajectories.

    As a transformer, which is how OpenVINO's notebooks quantize UNets: without it, NNCF quantizes what becomes of the
    timestep to 8 bits and the first steps are noise. The result is a bundle, so that our runtime runs it, on either
    engine.
    """
    import nncf
    import onnx
    from nncf.onnx.quantization.backend_parameters import BackendParameters

    from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, EXTERNAL_DATA_THRESHOLD_BYTES, file_entry, write_manifest
    from mezzotint.bundle.precision import Storage

    source = Bundle.open(inputs.bundle)
    shutil.copytree(inputs.bundle, inputs.folder)
    name = family_of(source).denoiser
    before = source.component(name)
    original = source.graph_path(name).resolve()
    graph = inputs.folder / before.files[0].path
    calls = [fitted(call.feeds, before) for call in _guided_calls(inputs)]
    quantized = nncf.quantize(
        onnx.load(original, load_external_data=False),  # NNCF serializes what it is given; protobuf ends at 2 GB
        nncf.Dataset(calls),
        model_type=nncf.ModelType.TRANSFORMER,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calls),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            backend_params={BackendParameters.EXTERNAL_DATA_DIR: str(original.parent)}
        ),
    )
    model = unsigned_activations(quantized)
    for entry in before.files:
        (inputs.folder / entry.path).unlink()
    is_large = sum(entry.bytes for entry in before.files) > EXTERNAL_DATA_THRESHOLD_BYTES
    onnx.save_model(model, graph, save_as_external_data=is_large, location=EXTERNAL_DATA_FILE if is_large else None)
    parts = [path for path in (graph, graph.parent / EXTERNAL_DATA_FILE) if path.is_file()]
    entries = tuple(file_entry(inputs.folder, path.relative_to(inputs.folder).as_posix()) for path in parts)
    quantized_part = replace(before, files=entries, storage=Storage.INT8, parity=None)
    components = {**source.manifest.components, name: quantized_part}
    write_manifest(inputs.folder, replace(source.manifest, recipe="nncf-int8", components=components))


def unsigned_activations(model: Any) -> Any:
    """The ONNX model with 8-bit activations stored as U8 instead of S8: codes and zero points 128 higher, equal values.

    ONNX Runtime 1.31 cannot load S8 activations at opset 21 and later (its optimizer adds nodes of mismatched types).
    """
    from onnx import TensorProto, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    quantizers = [
        node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    ]
    for name in {node.input[2] for node in quantizers}:
        values = numpy_helper.to_array(constants[name])
        if values.dtype == np.int8:
            shifted = (values.astype(np.int16) + 128).astype(np.uint8)
            constants[name].CopyFrom(numpy_helper.from_array(shifted, name))
    codes = {name for node in quantizers for name in node.output}
    for info in model.graph.value_info:  # what an earlier shape inference wrote down
        if info.name in codes:
            info.type.tensor_type.elem_type = TensorProto.UINT8
    return model


def _guided_calls(inputs: Inputs) -> Iterator[DenoiserCall]:
    """What the FP32 UNet is given, both halves of a step in one call, evenly over prompts and steps."""
    from .baseline import load

    baseline = load(Case(REFERENCE, "baseline", str(inputs.checkpoint), "diffusers", "fp32", "f32"))
    workload = _calibration_run(inputs)
    count = _LARGE_CALLS if _is_large(inputs) else _NNCF_CALLS
    prompts = 1 + count // workload.steps
    stride = max(1, prompts * workload.steps // count)
    for index, prompt in enumerate(workload.prompts[:prompts]):
        _, calls = baseline.generate_recorded(prompt, index, workload)
        yield from calls[index % stride :: stride]


def _calibration_run(inputs: Inputs) -> Workload:
    """The checkpoint's own steps and guidance; DDIM, whatever it names, unless it was distilled for another."""
    own = Bundle.open(inputs.bundle).defaults()
    sampler = "lcm" if own.sampler == "lcm" else "ddim"
    prompts = tuple(read_prompts(inputs.prompts))
    return Workload(prompts=prompts, steps=own.steps, guidance=own.guidance, scheduler=sampler)


def _is_large(inputs: Inputs) -> bool:
    """Whether the checkpoint generates images of full size."""
    _, height, _ = geometry_of(Bundle.open(inputs.bundle)).latent_shape()
    return height >= _LARGE_LATENT


ARTEFACTS: tuple[tuple[str, Callable[[Inputs], None]], ...] = (
    ("optimum-onnxruntime", _export_onnxruntime),
    ("optimum-intel", _export_openvino),
    ("optimum-intel-int8", _export_openvino_int8),
    ("nncf-int8", _quantize_with_nncf),
    ("optimum-cuda-fp16", _export_cuda_half),
)


def _optimum_cli(*arguments: str) -> None:
    subprocess.run([str(Path(sys.executable).with_name("optimum-cli")), "export", *arguments], check=True)


def package_versions() -> dict[str, str]:
    """Of the peers' packages that this environment has."""
    return installed_versions(_PACKAGES)


def main(arguments: list[str]) -> None:
    """NAME CHECKPOINT BUNDLE PROMPTS FOLDER."""
    name, *paths = arguments
    make = dict(ARTEFACTS)[name]
    make(Inputs(*(Path(path) for path in paths)))


if __name__ == "__main__":
    main(sys.argv[1:])
