"""A folder that Optimum exported, taken as it is: its graphs are copied and a manifest is added.

Node names are rewritten from "/down_blocks.0/resnets.0/conv1/Conv" to our "down_blocks.0.resnets.0.conv1/Conv", which
is what quantization rules match on, and the linear weights that its exporter numbers ("onnx::MatMul_1234") get their
module's name back. Nothing is checked against PyTorch: there are no modules to check against.
"""

import hashlib
import importlib.metadata
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath

import onnx_ir as ir

from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE, file_entry, list_files, sha256_of
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, Manifest, Source, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import MezzotintError

from .families.export_family import ExportFamily
from .families.lineup import export_of
from .files.effective_config import effective_scheduler_config
from .files.json_file import copy_text, read_object, write_object
from .files.pipeline_index import PipelineIndex, read_index
from .open_check import check_interface


def adopt_optimum(folder: Path, staging: Path) -> Manifest:
    """Copy Optimum's folder into `staging`; the manifest for it. Raises MezzotintError when a component is missing."""
    if (folder / MANIFEST_NAME).is_file():
        raise MezzotintError(f"{folder} is a bundle already; expected a checkpoint, or quantize it instead")
    index = read_index(folder)
    names, export = list(index.family.components), export_of(index.family)
    missing = [name for name in names if not (folder / name / GRAPH_FILE).is_file()]
    if missing:
        raise MezzotintError(f"{folder} has no {missing[0]}/{GRAPH_FILE}; export the checkpoint with Optimum again")
    for relative in list_files(folder):
        (staging / relative).parent.mkdir(parents=True, exist_ok=True)
        if PurePath(relative).suffix == ".json":
            copy_text(folder / relative, staging / relative)
        else:
            shutil.copyfile(folder / relative, staging / relative)
    _write_texts(export, index, names, staging)
    components = {name: _adopt_component(staging, name) for name in names}
    check_interface(export, components, lambda path: read_object(staging / path))
    digest = hashlib.sha256("".join(sha256_of(folder / name / GRAPH_FILE) for name in names).encode())
    return Manifest(
        family=index.family.name,
        source=Source(folder.resolve().name, digest.hexdigest()),
        recipe="fp32",
        target="portable",
        components=components,
        versions={"mezzotint": importlib.metadata.version("mezzotint")},
    )


def _write_texts(export: ExportFamily, index: PipelineIndex, names: Sequence[str], staging: Path) -> None:
    """Configs that say all, as for a checkpoint; the graphs' own folders hold those of the modules behind them."""
    configs = export.adopt({name: read_object(staging / name / "config.json") for name in names})
    for name, config in configs.items():
        write_object(staging / name / "config.json", config)
    geometry = export.family.geometry(lambda path: read_object(staging / path))
    class_name = export.class_of_bundle(index.stated_class, geometry)
    write_object(staging / "model_index.json", {**index.options, "_class_name": class_name})
    path = staging / "scheduler" / "scheduler_config.json"
    write_object(path, effective_scheduler_config(read_object(path), index.scheduler_class(), class_name))
    index.warn_of_more()


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
    # A dim without a name is a size of its own, no other's equal.
    dims = tuple(
        dim if isinstance(dim, int) else str(dim.value or f"{value.name}_{axis}")
        for axis, dim in enumerate(value.shape)
    )
    return TensorSpec(value.name, str(value.dtype.numpy()), dims)
