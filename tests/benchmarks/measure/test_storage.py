from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.benchmarks.cases.case import Case, Reading
from mezzotint.benchmarks.machine.machine import describe_machine
from mezzotint.benchmarks.measure.fingerprint import fingerprint_case
from mezzotint.benchmarks.measure.storage import bytes_on_disk, case_files, content_sha256
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.errors import MezzotintError
from tests.benchmarks.cases.test_lineup import make_bundle

INDEX = b'{"_class_name": "StableDiffusionPipeline"}'
FILES = {
    "model_index.json": len(INDEX),
    "README.md": 999,
    "contact-sheet.png": 999,
    "unet/config.json": 3,
    "unet/diffusion_pytorch_model.safetensors": 100,
    "unet/diffusion_pytorch_model.fp16.safetensors": 999,
    "unet/diffusion_pytorch_model.bin": 999,
    "vae/config.json": 3,
    "vae/diffusion_pytorch_model.bin": 50,
    "tokenizer/merges.txt": 7,
    "scheduler/scheduler_config.json": 2,
    "safety_checker/model.safetensors": 999,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Case:
    for name, size in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(INDEX if name == "model_index.json" else b"x" * size)
    return Case("diffusers-fp32", "baseline", str(tmp_path), "diffusers", "fp32")


def test_a_checkpoint_is_what_diffusers_loads_of_it(checkpoint: Case) -> None:
    names = {path.relative_to(checkpoint.source).as_posix() for path in case_files(checkpoint)}
    assert names == {name for name, size in FILES.items() if size != 999}
    assert bytes_on_disk(case_files(checkpoint)) == 165 + len(INDEX)


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="model_index"):
        case_files(Case("diffusers-fp32", "baseline", str(tmp_path), "diffusers", "fp32"))


def test_the_hash_sees_a_flipped_byte_and_nothing_that_is_not_loaded(checkpoint: Case) -> None:
    folder = Path(checkpoint.source)
    before = content_sha256(folder, case_files(checkpoint))
    (folder / "README.md").write_text("other")
    assert content_sha256(folder, case_files(checkpoint)) == before
    (folder / "tokenizer" / "merges.txt").write_bytes(b"xxxyxxx")
    assert content_sha256(folder, case_files(checkpoint)) != before


def test_the_fingerprint_depends_on_files_engines_and_machine_but_not_on_the_path(
    checkpoint: Case, tmp_path: Path
) -> None:
    machine = describe_machine()
    before = fingerprint_case(checkpoint, machine)
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert fingerprint_case(replace(checkpoint, source=str(moved)), machine) == before
    machine["versions"]["openvino"] = "0"
    assert fingerprint_case(replace(checkpoint, source=str(moved)), machine) != before
    moved.rename(tmp_path)


def test_a_bundles_manifest_counts_for_it_decides_how_the_graphs_run(tmp_path: Path) -> None:
    case = Case("int8-openvino", "bundle", make_bundle(tmp_path / "a", "int8", "openvino"), "openvino", "int8")
    assert [path.name for path in case_files(case)] == [MANIFEST_NAME]
    machine = describe_machine()
    before = fingerprint_case(case, machine)
    path = tmp_path / "a" / MANIFEST_NAME
    path.write_text(path.read_text().replace("int8", "fp16"))
    assert fingerprint_case(case, machine) != before


def test_machine_facts() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["versions"]["mezzotint"]
    assert machine["gpu"] is not None or machine["reasons"]["gpu"]
    assert set(machine["instruction_sets"]) <= set(Path("/proc/cpuinfo").read_text().split())


def test_a_single_file_is_that_file_and_the_configs_that_it_is_read_with(tmp_path: Path) -> None:
    file, config = tmp_path / "model.safetensors", tmp_path / "config"
    file.write_bytes(b"weights")
    (config / "unet").mkdir(parents=True)
    (config / "unet" / "config.json").write_text("{}", encoding="utf-8")
    (config / "unet" / "weights.safetensors").write_bytes(b"others")
    case = Case("diffusers-fp32", "baseline", str(file), "diffusers", "fp32")
    assert case_files(case) == (file,)
    with_config = replace(case, reading=Reading(config=str(config)))
    assert case_files(with_config) == (file, config / "unet" / "config.json")
    before = content_sha256(file, case_files(with_config))
    (config / "unet" / "config.json").write_text("{ }", encoding="utf-8")
    assert content_sha256(file, case_files(with_config)) != before
