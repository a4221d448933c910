"""What an export writes around its graphs: configs, manifest, external data."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE
from mezzotint.export import export_checkpoint
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.runtime import Bundle, MezzotintError, TextToImage
from tests.export.tracing import tracing, without_parity

PROMPT = "a red apple"
COMPONENTS = ["text_encoder", "unet", "vae_decoder", "vae_encoder"]


def json_of(path: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_the_manifest_says_where_it_came_from(tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    manifest = tiny_bundle.manifest
    assert (manifest.family, manifest.recipe, manifest.target) == ("stable-diffusion", "fp32", "portable")
    assert manifest.source.name == tiny_checkpoint.name
    assert len(manifest.source.sha256) == 64
    assert manifest.calibration is None
    assert manifest.cpu_features == ()
    assert {"torch", "diffusers", "transformers", "onnx", "onnxscript", "mezzotint"} <= set(manifest.versions)
    assert {(one.storage, one.compute) for one in manifest.components.values()} == {("float32", "f32")}


def test_a_fresh_bundle_verifies(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.verify() == len([path for path in tiny_bundle.path.rglob("*") if path.is_file()])


@pytest.mark.parametrize("name", COMPONENTS)
def test_configs_are_the_checkpoints_without_its_path(name: str, tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    folder = "vae" if name.startswith("vae") else name
    expected = json_of(tiny_checkpoint / folder / "config.json")
    expected.pop("_name_or_path", None)
    got = tiny_bundle.config(f"{name}/config.json")
    assert {key: got[key] for key in expected} == expected
    assert "_name_or_path" not in got


@pytest.fixture(scope="module")
def external(tiny_checkpoint: Path, tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose weights lie beside its graphs, as those of large models do. Not to be written to."""
    with pytest.MonkeyPatch.context() as patch, tracing(tiny_bundle), without_parity():
        patch.setattr("mezzotint.export.export.EXTERNAL_DATA_THRESHOLD_BYTES", 1000)
        return export_checkpoint(str(tiny_checkpoint), tmp_path_factory.mktemp("external") / "bundle")


@pytest.mark.usefixtures("traced_before", "unchecked")
class TestAroundTheGraphs:
    """With graphs that were traced and checked before."""

    @pytest.fixture
    def copy(self, tiny_checkpoint: Path, tmp_path: Path) -> Path:
        return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")

    def test_the_scheduler_has_the_values_that_the_pipeline_forces(self, copy: Path, tmp_path: Path) -> None:
        """StableDiffusionPipeline overrides these two whatever the file says; so must we, to generate its images."""
        path = copy / "scheduler" / "scheduler_config.json"
        given = json_of(path) | {"steps_offset": 0, "clip_sample": True, "beta_end": 0.0123}
        path.write_text(json.dumps(given), encoding="utf-8")
        bundle = export_checkpoint(str(copy), tmp_path / "bundle")
        expected = given | {"steps_offset": 1, "clip_sample": False}
        assert bundle.config("scheduler/scheduler_config.json") == expected

    def test_what_the_pipeline_forces_is_written_whether_the_file_has_it_or_not(
        self, copy: Path, tmp_path: Path
    ) -> None:
        path = copy / "scheduler" / "scheduler_config.json"
        given = {key: value for key, value in json_of(path).items() if key not in ("steps_offset", "clip_sample")}
        path.write_text(json.dumps(given), encoding="utf-8")
        bundle = export_checkpoint(str(copy), tmp_path / "bundle")
        expected = given | {"steps_offset": 1, "clip_sample": False}
        assert bundle.config("scheduler/scheduler_config.json") == expected

    def test_the_index_names_no_safety_checker(self, copy: Path, tmp_path: Path) -> None:
        """A folder with one in its index and none on disk would not load in Optimum."""
        path = copy / "model_index.json"
        checker = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
        path.write_text(json.dumps(json_of(path) | checker), encoding="utf-8")
        bundle = export_checkpoint(str(copy), tmp_path / "bundle")
        assert bundle.config("model_index.json")["safety_checker"] == [None, None]
        assert bundle.config("model_index.json")["_class_name"] == "StableDiffusionPipeline"

    def test_half_weights_are_read_as_floats(self, copy: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
        """What is stored in 16 bits, as most checkpoints are, is exported in 32; another file is another source."""
        path = copy / "vae" / "diffusion_pytorch_model.safetensors"
        halved = {name: weight.astype(np.float16) for name, weight in load_file(path).items()}
        save_file(halved, path, metadata={"format": "pt"})
        checkpoint = load_checkpoint(str(copy))
        assert {str(parameter.dtype) for parameter in checkpoint.modules["vae"].parameters()} == {"torch.float32"}
        bundle = export_checkpoint(str(copy), tmp_path / "bundle")
        assert bundle.manifest.source.sha256 != tiny_bundle.manifest.source.sha256

    def test_the_manifest_says_which_variant_was_read(self, copy: Path, tmp_path: Path) -> None:
        path = copy / "vae" / "diffusion_pytorch_model.safetensors"
        path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
        bundle = export_checkpoint(str(copy), tmp_path / "bundle")
        assert bundle.manifest.source.variants == {"vae": "fp16"}
        assert bundle.verify()

    def test_an_existing_output_needs_overwrite(self, copy: Path, tmp_path: Path) -> None:
        bundle = export_checkpoint(str(copy), tmp_path / "bundle")
        before = (bundle.path / "mezzotint.json").stat().st_ino
        with pytest.raises(MezzotintError, match="exists already; choose another output or pass --overwrite"):
            export_checkpoint(str(copy), tmp_path / "bundle")
        assert (bundle.path / "mezzotint.json").stat().st_ino == before
        export_checkpoint(str(copy), tmp_path / "bundle", overwrite=True)
        assert (bundle.path / "mezzotint.json").stat().st_ino != before

    def test_a_folder_of_something_else_is_never_replaced(self, copy: Path, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("years of work", encoding="utf-8")
        with pytest.raises(MezzotintError, match=r"has no mezzotint\.json, so it is not overwritten"):
            export_checkpoint(str(copy), tmp_path / "mine", overwrite=True)
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]

    def test_large_weights_lie_beside_the_graph(self, external: Bundle) -> None:
        for name in COMPONENTS:
            files = [entry.path for entry in external.component(name).files]
            assert files == [f"{name}/model.onnx", f"{name}/{EXTERNAL_DATA_FILE}"]
            graph, weights = (external.path / path for path in files)
            assert graph.stat().st_size < weights.stat().st_size
            onnx.checker.check_model(graph)
        assert external.verify()

    @pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
    def test_external_weights_generate_the_same_image(
        self, backend: str, external: Bundle, tiny_bundle: Bundle
    ) -> None:
        pytest.importorskip(backend)
        got, expected = (
            TextToImage.load(bundle.path, backend=backend)(PROMPT, steps=2).pixels for bundle in (external, tiny_bundle)
        )
        np.testing.assert_array_equal(got, expected)

    @pytest.mark.filterwarnings("ignore")  # Optimum's own
    def test_external_weights_load_in_optimum(self, external: Bundle) -> None:
        optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
        pipe = optimum.ORTStableDiffusionPipeline.from_pretrained(str(external.path))
        pipe.set_progress_bar_config(disable=True)
        noise = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
        sizes = {"height": 16, "width": 16, "num_inference_steps": 2, "output_type": "np"}
        import torch

        generated = pipe(PROMPT, latents=torch.from_numpy(noise), **sizes).images
        assert generated.shape == (1, 16, 16, 3)
        assert np.isfinite(generated).all()
