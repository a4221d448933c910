"""Exported graphs tell nothing of the machine that made them, and name everything after the checkpoint."""

import re
import sysconfig
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from safetensors.numpy import load_file

from mezzotint.arrays import Array
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.runtime import Bundle

COMPONENTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")
MODULE_PATH_AND_OPERATOR = re.compile(r"([A-Za-z]\w*(\.\w+)*)?/[A-Za-z]+(_\d+)?")


def weights_of(checkpoint: Path, component: str) -> dict[str, Array]:
    """The checkpoint's own tensors, by their names there."""
    (path,) = (checkpoint / component.partition("_")[0].replace("text", "text_encoder")).glob("*.safetensors")
    weights: dict[str, Array] = load_file(path)
    return weights


@pytest.mark.parametrize("name", COMPONENTS)
def test_no_trace_of_the_exporting_machine(name: str, tiny_bundle: Bundle, repo_root: Path) -> None:
    content = tiny_bundle.graph_path(name).read_bytes()
    traces = (
        str(repo_root),
        str(Path.home()),
        sysconfig.get_paths()["purelib"],
        "site-packages",
        'File "',
        ".py",
        "stack_trace",
        "pkg.torch",
        "/tmp",
    )
    assert [trace for trace in traces if trace.encode() in content] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_nothing_carries_metadata(name: str, tiny_bundle: Bundle) -> None:
    model = onnx.load(tiny_bundle.graph_path(name))
    graph = model.graph
    items = (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer)
    assert [item for item in items if item.metadata_props or item.doc_string] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_nodes_are_named_after_their_module_and_operator(name: str, tiny_bundle: Bundle) -> None:
    nodes = onnx.load(tiny_bundle.graph_path(name)).graph.node
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert [one for one in names if not MODULE_PATH_AND_OPERATOR.fullmatch(one)] == []
    assert all(node.name.partition("/")[2].partition("_")[0] == node.op_type for node in nodes)


@pytest.mark.parametrize("name", COMPONENTS)
def test_module_paths_exist_in_the_checkpoint(name: str, tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    """A node of a weight lies in the very module that the checkpoint's name for the weight says."""
    weights = weights_of(tiny_checkpoint, name)
    items = weighted_nodes(ir.load(tiny_bundle.graph_path(name)).graph)
    assert items
    for item in items:
        assert f"{item.name.partition('/')[0]}.weight" in weights, item.name


@pytest.mark.parametrize("name", COMPONENTS)
def test_weights_have_the_checkpoints_names_and_values(name: str, tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    weights = weights_of(tiny_checkpoint, name)
    items = weighted_nodes(ir.load(tiny_bundle.graph_path(name)).graph)
    for item in items:
        stored = item.weight_array()
        expected = weights[str(item.weight.name)]
        if item.node.op_type == "MatMul":
            expected = expected.T
        np.testing.assert_array_equal(stored, expected, err_msg=item.name)


def test_every_large_weight_of_the_unet_is_there_by_name(tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    graph = ir.load(tiny_bundle.graph_path("unet")).graph
    large = {name for name, weight in weights_of(tiny_checkpoint, "unet").items() if weight.ndim > 1}
    assert large - set(graph.initializers) == set()


def test_dims_are_named_after_the_inputs(tiny_bundle: Bundle) -> None:
    inputs = onnx.load(tiny_bundle.graph_path("unet")).graph.input
    symbols = [[dim.dim_param for dim in value.type.tensor_type.shape.dim] for value in inputs]
    assert symbols == [["batch_size", "", "height", "width"], [], ["batch_size", "sequence_length", ""]]
