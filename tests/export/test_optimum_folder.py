"""A folder that Optimum exported becomes a bundle that generates and that quantizes."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.runtime import Bundle, MezzotintError, TextToImage

PROMPT = "a red apple"


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """Optimum's layout: a bundle without our manifest."""
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "exported")
    (copy / "mezzotint.json").unlink()
    return copy


def test_an_adopted_folder_generates_the_same_image(folder: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    adopted = export_checkpoint(str(folder), tmp_path / "bundle")
    adopted.verify()
    assert {one.parity for one in adopted.manifest.components.values()} == {None}
    got, expected = (
        TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, steps=2).pixels
        for bundle in (adopted, tiny_bundle)
    )
    np.testing.assert_array_equal(got, expected)


def test_inputs_and_outputs_are_read_from_the_graphs(folder: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    adopted = export_checkpoint(str(folder), tmp_path / "bundle")
    for name in ("text_encoder", "unet", "vae_decoder"):
        assert adopted.component(name).inputs == tiny_bundle.component(name).inputs
        assert adopted.component(name).outputs == tiny_bundle.component(name).outputs


def test_optimums_names_become_ours(folder: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Its exporter writes "/a.0/b/Conv", and numbers the weights of linears."""
    path = folder / "unet" / "model.onnx"
    model = onnx.load(path)
    numbered = {node.input[1]: f"onnx::MatMul_{index}" for index, node in enumerate(model.graph.node)
                if node.op_type == "MatMul" and node.input[1].endswith(".weight")}  # fmt: skip
    for node in model.graph.node:
        module, _, operator = node.name.rpartition("/")
        node.name = f"/{module.replace('.resnets', '/resnets').replace('.conv', '/conv')}/{operator}"
        node.input[:] = [numbered.get(name, name) for name in node.input]
    for tensor in model.graph.initializer:
        tensor.name = numbered.get(tensor.name, tensor.name)
    onnx.save(model, path)
    adopted = export_checkpoint(str(folder), tmp_path / "bundle")
    names = [
        [(item.name, item.weight.name) for item in weighted_nodes(ir.load(bundle.graph_path("unet")).graph)]
        for bundle in (adopted, tiny_bundle)
    ]
    assert numbered
    assert names[0] == names[1]


def test_weights_beside_the_graph_are_taken_along(folder: Path, tmp_path: Path) -> None:
    path = folder / "unet" / "model.onnx"
    model = onnx.load(path)
    path.unlink()
    onnx.save(model, path, save_as_external_data=True, location="model.onnx_data")
    adopted = export_checkpoint(str(folder), tmp_path / "bundle")
    assert [entry.path for entry in adopted.component("unet").files] == ["unet/model.onnx", "unet/model.onnx_data"]
    shutil.rmtree(folder)
    assert TextToImage.load(adopted.path, backend="onnxruntime")(PROMPT, steps=1).pixels.shape == (1, 16, 16, 3)


def test_a_bundle_is_not_adopted_again(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="is a bundle already"):
        export_checkpoint(str(tiny_bundle.path), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["text_encoder", "vae_decoder", "vae_encoder"])
def test_a_missing_graph_is_named(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name / "model.onnx").unlink()
    with pytest.raises(MezzotintError, match=f"has no {name}/model.onnx; export the checkpoint with Optimum again"):
        export_checkpoint(str(folder), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["unet/model.onnx", "tokenizer/vocab.json"])
def test_a_folder_cloned_without_its_large_files(name: str, folder: Path, tmp_path: Path) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 605\n", encoding="utf-8")
    with pytest.raises(MezzotintError, match=f"{name} is a git-lfs pointer"):
        export_checkpoint(str(folder), tmp_path / "bundle")


def test_graphs_have_no_variants(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="holds ONNX graphs, and --variant fp16 says nothing"):
        export_checkpoint(str(folder), tmp_path / "bundle", variant="fp16")


def test_another_family_is_refused(folder: Path, tmp_path: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusion3Pipeline"))
    with pytest.raises(MezzotintError, match="is a StableDiffusion3Pipeline, expected a StableDiffusionPipeline"):
        export_checkpoint(str(folder), tmp_path / "bundle")


def test_a_graph_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "unet" / "model.onnx").write_bytes(b"no graph at all")
    with pytest.raises(MezzotintError, match=r"unet/model\.onnx cannot be read"):
        export_checkpoint(str(folder), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Optimum's tracing warns of everything
def test_optimums_own_export_generates_and_quantizes(
    tiny_checkpoint: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    exporters = pytest.importorskip("optimum.exporters.onnx", reason="Optimum is not installed", exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exporters.main_export(str(tiny_checkpoint), tmp_path / "optimum", task="text-to-image", do_validation=False)
    adopted = export_checkpoint(str(tmp_path / "optimum"), tmp_path / "bundle")
    ours, theirs = (
        TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, steps=5).pixels
        for bundle in (tiny_bundle, adopted)
    )
    assert psnr_db(ours, theirs) > 60.0
    settings = CalibrationSettings(scheduler="ddim", steps=4, calls=8)
    quantized = quantize_bundle(
        adopted.path, tmp_path / "int8", recipe="int8", target="onnxruntime", prompts=(PROMPT,), settings=settings
    )
    schemes = {name: one["scheme"] for name, one in quantized.config("unet/quantization.json").items()}
    assert "w8a8" in schemes.values()
    pixels = TextToImage.load(quantized.path)(PROMPT, steps=5).pixels
    assert psnr_db(ours, pixels) > 20.0
