"""An export ends by opening what it wrote: what could not be used is refused, and nothing is left."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from mezzotint.bundle.bundle import write_manifest
from mezzotint.export import export_checkpoint
from mezzotint.export.open_check import check_opens
from mezzotint.export.scheduler import SamplerWarning
from mezzotint.runtime import Bundle, MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """What Optimum would have exported: a bundle without our manifest."""
    exported = shutil.copytree(tiny_bundle.path, tmp_path / "exported")
    (exported / "mezzotint.json").unlink()
    return exported


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def refusal(model: Path) -> str:
    with pytest.raises(MezzotintError) as error:
        export_checkpoint(str(model), model.parent / "bundle")
    assert list(model.parent.iterdir()) == [model]
    message = str(error.value)
    assert "\n" not in message
    assert "staging" not in message  # a folder that nobody will find
    return message


def fix_dims(path: Path, name: str, dims: dict[int, int]) -> None:
    model = onnx.load(path)
    (value,) = [one for one in model.graph.input if one.name == name]
    for axis, size in dims.items():
        value.type.tensor_type.shape.dim[axis].dim_value = size
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("graph", "name", "dims", "what"),
    [
        ("unet", "sample", {0: 1}, "batch"),
        ("unet", "sample", {2: 8, 3: 8}, "height, width"),
        ("text_encoder", "input_ids", {0: 1, 1: 32}, "batch, sequence"),
        ("vae_decoder", "latent_sample", {0: 1}, "batch"),
        ("vae_encoder", "sample", {2: 16}, "height"),
    ],
)
def test_graphs_of_fixed_shapes_are_refused(
    graph: str, name: str, dims: dict[int, int], what: str, folder: Path
) -> None:
    """As `optimum-cli export onnx --no-dynamic-axes` writes them: guidance could not run."""
    fix_dims(folder / graph / "model.onnx", name, dims)
    message = refusal(folder)
    assert f"{graph}'s input {name!r} has the fixed shape" in message
    assert f"expected a dynamic {what}:" in message


def test_a_graph_with_another_interface_is_refused(folder: Path) -> None:
    path = folder / "unet" / "model.onnx"
    model = onnx.load(path)
    model.graph.input.append(onnx.helper.make_tensor_value_info("timestep_cond", onnx.TensorProto.FLOAT, ["b", 256]))
    onnx.save(model, path)
    assert "unet's graph has the inputs" in refusal(folder)


def test_a_graph_without_the_output_that_is_read_is_refused(folder: Path) -> None:
    path = folder / "vae_encoder" / "model.onnx"
    model = onnx.load(path)
    (output,) = model.graph.output
    identity = onnx.helper.make_node("Identity", [output.name], ["latent_sample"])
    model.graph.node.append(identity)
    output.name = "latent_sample"
    onnx.save(model, path)
    assert "vae_encoder's graph has the outputs ['latent_sample']" in refusal(folder)


def test_dims_without_a_name_are_not_taken_for_one(folder: Path) -> None:
    path = folder / "unet" / "model.onnx"
    model = onnx.load(path)
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.ClearField("dim_param")
    onnx.save(model, path)
    bundle = export_checkpoint(str(folder), folder.parent / "bundle")
    dims = [dim for spec in bundle.component("unet").inputs for dim in spec.dims if isinstance(dim, str)]
    assert len(dims) == len(set(dims)) == 5


def test_an_adopted_folder_gets_what_the_pipeline_forces(folder: Path) -> None:
    change_json(folder / "scheduler" / "scheduler_config.json", steps_offset=0, clip_sample=True)
    bundle = export_checkpoint(str(folder), folder.parent / "bundle")
    config = bundle.config("scheduler/scheduler_config.json")
    assert (config["steps_offset"], config["clip_sample"]) == (1, False)


def test_an_adopted_folder_of_another_family_is_refused(folder: Path) -> None:
    change_json(folder / "unet" / "config.json", time_cond_proj_dim=256)
    assert "time_cond_proj_dim = 256" in refusal(folder)


@pytest.mark.usefixtures("traced_before", "unchecked")
class TestCheckpoints:
    """With graphs that were traced and checked before."""

    def test_a_tokenizer_with_words_that_the_encoder_does_not_have(
        self, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def trace(source: object) -> Any:
            raise AssertionError(source)

        monkeypatch.setattr("mezzotint.export.export.to_onnx", trace)
        tokens = json.loads((copy / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
        for name in ("<|endoftext|>", "<|startoftext|>"):
            tokens["model"]["vocab"][name] += 50_000
        for token in tokens["added_tokens"]:
            token["id"] += 50_000
        (copy / "tokenizer" / "tokenizer.json").write_text(json.dumps(tokens), encoding="utf-8")
        assert "gives '<|startoftext|>' the id 54094, and the text encoder has 4096 rows" in refusal(copy)

    def test_a_window_wider_than_the_encoders(self, copy: Path) -> None:
        change_json(copy / "tokenizer" / "tokenizer_config.json", model_max_length=77)
        assert "the exported bundle cannot be used" in refusal(copy)

    def test_a_tokenizer_that_cannot_be_read_is_refused_before_the_graphs_are_made(
        self, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def trace(source: object) -> Any:
            raise AssertionError(source)

        monkeypatch.setattr("mezzotint.export.export.to_onnx", trace)
        change_json(copy / "tokenizer" / "tokenizer_config.json", tokenizer_class="T5Tokenizer")
        assert "T5Tokenizer" in refusal(copy)

    def test_texts_with_byte_order_marks_are_read_right(self, copy: Path) -> None:
        for name in ("model_index.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"):
            path = copy / name
            path.write_bytes(path.read_text(encoding="utf-8").replace("\n", "\r\n").encode("utf-16"))
        bundle = export_checkpoint(str(copy), copy.parent / "bundle")
        assert bundle.config("scheduler/scheduler_config.json")["_class_name"] == "DDIMScheduler"
        assert bundle.config("tokenizer/tokenizer_config.json")["model_max_length"] == 32

    def test_samplers_that_the_config_rules_out_are_warned_of(self, copy: Path) -> None:
        change_json(
            copy / "scheduler" / "scheduler_config.json",
            rescale_betas_zero_snr=True,
            prediction_type="v_prediction",
            timestep_spacing="trailing",
        )
        with pytest.warns(SamplerWarning, match="samplers that cannot run this checkpoint: .*pndm"):
            export_checkpoint(str(copy), copy.parent / "bundle")

    def test_betas_that_no_sampler_can_use_are_refused(self, copy: Path) -> None:
        change_json(copy / "scheduler" / "scheduler_config.json", beta_start=0.5, beta_end=0.9)
        message = refusal(copy)
        assert "no sampler runs with scheduler_config.json" in message

    @pytest.mark.parametrize("name", ["StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"])
    def test_other_pipelines_on_the_same_components_export(self, name: str, copy: Path) -> None:
        change_json(copy / "model_index.json", _class_name=name)
        bundle = export_checkpoint(str(copy), copy.parent / "bundle")
        assert bundle.config("model_index.json")["_class_name"] == name


def test_a_bundle_whose_graphs_do_not_fit_each_other_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A step through all graphs meets what no look at one of them can."""
    staging = shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
    change_json(staging / "unet" / "config.json", in_channels=9)
    write_manifest(staging, tiny_bundle.manifest)
    with pytest.raises(MezzotintError, match="the exported bundle cannot be used: unet: input 'sample' has size 9"):
        check_opens(staging)


def test_a_good_bundle_opens_without_a_word(tiny_bundle: Bundle, user_cache: Path) -> None:
    before = sorted(user_cache.rglob("*"))
    check_opens(tiny_bundle.path)
    assert sorted(user_cache.rglob("*")) == before
    assert len(SAMPLERS) > 1
