"""Graph inputs and outputs: as Optimum's exporter has them, float ones in FP32, with dynamic sizes."""

from collections.abc import Sequence

import onnx
import pytest

from mezzotint.bundle.manifest import TensorSpec
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.families.stable_diffusion import graph_sources
from mezzotint.runtime import Bundle

# Component -> inputs and outputs: name, dtype, dims; None is a dim of any size. Text width 32, VAE factor 2.
INTERFACE: dict[str, tuple[list[tuple[str, str, list[int | None]]], list[tuple[str, str, list[int | None]]]]] = {
    "text_encoder": (
        [("input_ids", "INT64", [None, None])],
        [
            ("last_hidden_state", "FLOAT", [None, None, 32]),
            ("pooler_output", "FLOAT", [None, 32]),
            ("clip_skip.1", "FLOAT", [None, None, 32]),  # beyond Optimum's: one for each layer
        ],
    ),
    "unet": (
        [
            ("sample", "FLOAT", [None, 4, None, None]),
            ("timestep", "FLOAT", []),
            ("encoder_hidden_states", "FLOAT", [None, None, 32]),
        ],
        [("out_sample", "FLOAT", [None, 4, None, None])],
    ),
    "vae_decoder": (
        [("latent_sample", "FLOAT", [None, 4, None, None])],
        [("sample", "FLOAT", [None, 3, None, None])],
    ),
    "vae_encoder": (
        [("sample", "FLOAT", [None, 3, None, None])],
        [("latent_parameters", "FLOAT", [None, 8, None, None])],
    ),
}


def described(values: Sequence[onnx.ValueInfoProto]) -> list[tuple[str, str, list[int | None]]]:
    """Name, dtype and dims of graph inputs or outputs, read with onnx itself."""
    kinds = [(value.name, value.type.tensor_type) for value in values]
    return [
        (name, onnx.TensorProto.DataType.Name(kind.elem_type), [dim.dim_value or None for dim in kind.shape.dim])
        for name, kind in kinds
    ]


def stated(specs: Sequence[TensorSpec]) -> list[tuple[str, str, list[int | None]]]:
    """The same of what a manifest says."""
    names = {"float32": "FLOAT", "int64": "INT64"}
    return [(spec.name, names[spec.dtype], [d if isinstance(d, int) else None for d in spec.dims]) for spec in specs]


@pytest.mark.parametrize("name", INTERFACE)
def test_graph_and_manifest_have_the_interface(name: str, tiny_bundle: Bundle) -> None:
    graph = onnx.load(tiny_bundle.graph_path(name)).graph
    component = tiny_bundle.component(name)
    assert (described(graph.input), described(graph.output)) == INTERFACE[name]
    assert (stated(component.inputs), stated(component.outputs)) == INTERFACE[name]


def test_there_are_these_four_components(tiny_bundle: Bundle) -> None:
    assert list(INTERFACE) == sorted(INTERFACE)
    assert sorted(tiny_bundle.manifest.components) == list(INTERFACE)


def test_equal_sizes_have_equal_symbols(tiny_bundle: Bundle) -> None:
    """The UNet's output is as large as its sample, and its embeddings have the sample's batch."""
    unet = tiny_bundle.component("unet")
    sample, _, embeddings = unet.inputs
    assert unet.outputs[0].dims == sample.dims
    assert embeddings.dims[0] == sample.dims[0]
    assert len({sample.dims[0], sample.dims[2], sample.dims[3], embeddings.dims[1]}) == 4


@pytest.mark.filterwarnings("ignore")  # Optimum's imports warn
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("text_encoder", "CLIPTextOnnxConfig"),
        ("unet", "UNetOnnxConfig"),
        ("vae_decoder", "VaeDecoderOnnxConfig"),
        ("vae_encoder", "VaeEncoderOnnxConfig"),
    ],
)
def test_names_are_those_of_optimums_exporter(name: str, kind: str, tiny_bundle: Bundle) -> None:
    configs = pytest.importorskip(
        "optimum.exporters.onnx.model_configs", reason="Optimum is not installed", exc_type=ImportError
    )
    from transformers import PretrainedConfig

    expected = getattr(configs, kind)(PretrainedConfig(**tiny_bundle.config(f"{name}/config.json")))
    component = tiny_bundle.component(name)
    assert [spec.name for spec in component.inputs] == list(expected.inputs)
    names = [spec.name for spec in component.outputs if not spec.name.startswith("clip_skip.")]  # ours alone
    assert names == list(expected.outputs)


def test_tracing_uses_sizes_that_no_halving_divides(tiny_checkpoint: object, demo_checkpoint: object) -> None:
    for checkpoint, levels in ((tiny_checkpoint, 2), (demo_checkpoint, 3)):
        unet = tuple(graph_sources(load_checkpoint(str(checkpoint))))[1]
        assert unet.name == "unet"
        assert unet.trace_size.height % 2 ** (levels - 1)
        assert unet.trace_size.width % 2 ** (levels - 1)
