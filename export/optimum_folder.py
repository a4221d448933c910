"""A folder that Optimum exported, taken as it is: its graphs are copied and a manifest is added.

Node names are rewritten from "/down_blocks.0/resnets.0/conv1/Conv" to our "down_blocks.0.resnets.0.conv1/Conv", which
is what quantization rules match on, and the linear weights that its exporter numbers ("onnx::MatMul_1234") get their
module's name back. Nothing is checked against PyTorch: there are no modules to check against.
"""

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import onnx_ir as ir

from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE, file_entry, list_files, sha256_of
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, Manifest, Source, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import MezzotintError

from .checkpoint import PIPELINE_CLASS

__all__ = ["adopt_optimum", "is_optimum_folder"]

_COMPONENTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")


def is_optimum_folder(folder: Path) -> bool:
    """Whether `folder` holds ONNX graphs in Optimum's layout rather than PyTorch weights."""
    return (folder / "unet" / GRAPH_FILE).is_file()


def adopt_optimum(folder: Path, staging: Path) -> Manifest:
    """Copy Optimum's folder into `staging`; the manifest for it. Raises MezzotintError when a component is missing."""
    if (folder / MANIFEST_NAME).is_file():
        raise MezzotintError(f"{folder} is a bundle already; expected a checkpoint, or quantize it instead")
    missing = [name for name in _COMPONENTS if not (folder / name / GRAPH_FILE).is_file()]
    if missing:
        raise MezzotintError(f"{folder} has no {missing[0]}/{GRAPH_FILE}; export the checkpoint with Optimum again")
    if _pipeline_class(folder) != PIPELINE_CLASS:
        raise MezzotintError(f"{folder} is a {_pipeline_class(folder)}, expected a {PIPELINE_CLASS}")
    for relative in list_files(folder):
        (staging / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / relative, staging / relative)
    components = {name: _adopt_component(staging, name) for name in _COMPONENTS}
    digest = hashlib.sha256("".join(sha256_of(folder / name / GRAPH_FILE) for name in _COMPONENTS).encode())
    return Manifest(
        family="stable-diffusion",
        source=Source(folder.resolve().name, digest.hexdigest()),
        recipe="fp32",
        target="portable",
        components=components,
        versions={"mezzotint": importlib.metadata.version("mezzotint")},
    )


def _pipeline_class(folder: Path) -> str:
    try:
        return str(json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name"))
    except (OSError, ValueError, AttributeError) as error:
        raise MezzotintError(f"{folder}/model_index.json cannot be read ({error}); expected Optimum's folder") from None


def _adopt_component(staging: Path, name: str) -> Component:
    path = staging / name / GRAPH_FILE
    try:
        model = ir.load(path)
    except Exception as error:
        reason = type(error).__name__
        raise MezzotintError(f"{name}/{GRAPH_FILE} cannot be read ({reason}); export with Optimum again") from error
    for node in model.graph:
        module, _, operation = (node.name or "").strip("/").rpartition("/")
        node.name = f"{module.replace('/', '.')}/{operation}"
        if operation == "MatMul":
            _name_weight(model.graph, node, f"{module.replace('/', '.')}.weight")
    external = path.with_name(EXTERNAL_DATA_FILE).is_file()
    ir.save(model, path)
    names = [GRAPH_FILE, EXTERNAL_DATA_FILE] if external else [GRAPH_FILE]
    return Component(
        files=tuple(file_entry(staging, f"{name}/{file}") for file in names),
        storage=Storage.FLOAT32,
        compute=Compute.F32,
        inputs=tuple(_spec(value) for value in model.graph.inputs),
        outputs=tuple(_spec(value) for value in model.graph.outputs),
    )


def _name_weight(graph: ir.Graph, node: ir.Node, name: str) -> None:
    weight = node.inputs[1]
    if (
        weight is not None
        and weight.is_initializer()
        and "." not in str(weight.name)
        and name not in graph.initializers
    ):
        weight.name = name


def _spec(value: ir.Value) -> TensorSpec:
    if value.dtype is None or value.shape is None or value.name is None:
        raise MezzotintError(f"graph input or output {value.name} has no type or shape; export with Optimum again")
    dims = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
    return TensorSpec(value.name, str(value.dtype.numpy()), dims)
