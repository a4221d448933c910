"""Manifests: what is written is read back, and whatever else is in the file ends in one kind of error."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.decisions import Decision
from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.manifest import (
    Component,
    FileEntry,
    Manifest,
    Parity,
    Replacement,
    ShallowGraph,
    Source,
    TensorSpec,
)
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import MezzotintError

MANIFEST = Manifest(
    family="stable-diffusion",
    source=Source("embedded, 銅版画", "ab" * 32),
    recipe="int8",
    target="openvino",
    components={
        "unet": Component(
            files=(FileEntry("unet/model.onnx", 1234, "cd" * 32), FileEntry("unet/model.onnx_data", 5, "ef" * 32)),
            storage=Storage.INT8,
            compute=Compute.BF16,
            inputs=(
                TensorSpec("sample", "float32", ("batch_size", 4, "height", "width")),
                TensorSpec("t", "int64", ()),
            ),
            outputs=(TensorSpec("out_sample", "float32", ("batch_size", 4, "height", "width")),),
            parity=Parity("PyTorch FP32", 31.5, identical=False),
        ),
        "vae_decoder": Component((FileEntry("v", 0, "00" * 32),), Storage.FLOAT32, Compute.F32, (), ()),
    },
    files=(FileEntry("tokenizer/vocab.json", 7, "12" * 32),),
    cpu_features=("avx512_vnni|avx_vnni",),
    calibration=CalibrationRecord(
        prompts_sha256="34" * 32,
        prompts=64,
        scheduler="ddim",
        steps=20,
        guidance=5.0,
        latent_shape=(4, 8, 8),
        calls=128,
        seed=0,
        trajectories=32,
        visits=12,
    ),
    defaults=Defaults(sampler="lcm", scheduler_class="LCMScheduler", steps=4, guidance=1.0),
    versions={"onnx": "1.2.3"},
)
DATA: dict[str, Any] = json.loads(MANIFEST.to_json())


def parse(data: object) -> Manifest:
    return Manifest.parse(json.dumps(data))


def changed(path: tuple[str | int, ...], value: object) -> Any:
    """A copy of `DATA` with `value` at `path`."""
    data: Any = copy.deepcopy(DATA)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    "kind",
    [
        Manifest,
        Component,
        CalibrationRecord,
        Parity,
        FileEntry,
        TensorSpec,
        Source,
        Replacement,
        Decision,
        ShallowGraph,
    ],
)
def test_the_page_on_the_format_names_every_field(repo_root: Path, kind: Any) -> None:
    page = (repo_root / "docs" / "bundle-format.md").read_text(encoding="utf-8")
    assert [entry.name for entry in fields(kind) if f"`{entry.name}`" not in page and entry.name != "node"] == []


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "mezzotint.json"
    path.write_text(MANIFEST.to_json(), encoding="utf-8")
    assert Manifest.read(path) == MANIFEST


def test_defaults_are_read_back() -> None:
    least = Manifest("f", Source("n", "s"), "fp32", "portable", {})
    assert Manifest.parse(least.to_json()) == least


def test_what_was_replaced_is_read_back_and_is_no_field_elsewhere() -> None:
    vae = Replacement(name="sd-vae-ft-mse", sha256="78" * 32, variant="fp16", latent_scale=0.18215)
    swapped = replace(MANIFEST, replaced={"vae": vae})
    assert Manifest.parse(swapped.to_json()) == swapped
    assert "replaced" not in json.loads(MANIFEST.to_json())


def test_a_manifest_of_before_keeps_its_text() -> None:
    """A null that an earlier version did not write would be a change to `verify`."""
    before = replace(MANIFEST, defaults=None).to_json()
    assert "defaults" not in json.loads(before)
    assert Manifest.parse(before).to_json() == before
    assert Manifest.parse(before).defaults is None


def test_the_text_is_the_same_every_time_and_after_reading() -> None:
    careless: Any = {10: "1", 9: "2", "8": "3"}  # keys that are no strings, as a careless writer has them
    text = replace(MANIFEST, versions=careless).to_json()
    assert Manifest.parse(text).to_json() == text
    assert replace(MANIFEST, versions=dict(reversed(careless.items()))).to_json() == text


def test_equal_arrays_have_no_decibels() -> None:
    component = replace(MANIFEST.components["unet"], parity=Parity("x", None, identical=True))
    manifest = replace(MANIFEST, components={"unet": component})
    assert Manifest.parse(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["components"]["unet"]["parity"]["sqnr_db"] is None


def test_a_whole_number_of_decibels_is_a_float() -> None:
    manifest = parse(changed(("components", "unet", "parity", "sqnr_db"), 40))
    parity = manifest.components["unet"].parity
    assert parity is not None
    assert isinstance(parity.sqnr_db, float)


UNET = ("components", "unet")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 2, "schema_version is 2, expected 1"),
        (("schema_version",), "1", "schema_version is '1', expected 1"),
        (("schema_version",), True, "schema_version"),
        (("colour",), "red", r"unknown field 'colour', expected calibration, components"),
        (("family",), 3, "family: expected .*str.*, got 3"),
        (("source",), None, "source: expected an object, got NoneType"),
        (("source", "path"), "x", "source: unknown field 'path'"),
        (("components",), [], "components: expected"),
        ((*UNET, "files", 0, "bytes"), 1.0, r"components\.unet: files\[0\]: bytes: expected .*int.*, got 1\.0"),
        ((*UNET, "files", 0, "bytes"), True, "bytes: expected .*int.*, got True"),
        ((*UNET, "files", 1), "model.onnx", r"files\[1\]: expected an object, got str"),
        ((*UNET, "inputs", 0, "dims", 1), None, r"inputs\[0\]: dims\[1\]: expected"),
        ((*UNET, "inputs", 0, "dims", 1), 4.0, r"dims\[1\]: expected .*int.*, got 4\.0"),
        ((*UNET, "parity"), [], "parity: expected an object, got list"),
        ((*UNET, "parity", "identical"), 0, "identical: expected .*bool.*, got 0"),
        (("cpu_features",), "avx2", "cpu_features: expected"),
        (("calibration",), 3, "calibration: expected"),
        (("calibration", "rows"), 3, "calibration: unknown field 'rows'"),
        (("calibration", "steps"), "20", "calibration: steps: expected .*int.*, got '20'"),
        (("calibration", "steps"), 0, "calibration: steps is 0, expected 1 to"),
        (("calibration", "steps"), 10**400, "calibration: steps is 1000"),
        (("calibration", "guidance"), float("nan"), "calibration: guidance is nan, expected 0 to"),
        (("calibration", "latent_shape"), [8, 8], r"calibration: latent_shape: expected 3 entries, got \[8, 8\]"),
        (("calibration", "latent_shape", 1), "8", r"latent_shape\[1\]: expected .*int.*, got '8'"),
        (("calibration", "latent_shape", 1), 0, r"latent_shape\[1\] is 0, expected 1 to"),
        (
            (*UNET, "storage"),
            "int4",
            r"unet: storage: expected float32, float16, int8-weights, int8, fp8, int4-weights, got 'int4'",
        ),
        ((*UNET, "storage"), 8, "storage: expected float32, .*, got 8"),
        ((*UNET, "compute"), "f8", r"unet: compute: expected f32, bf16, f16, got 'f8'"),
        ((*UNET, "float32_weights"), [1], r"float32_weights\[0\]: expected .*str.*, got 1"),
        (("versions", "onnx"), 1.2, r"versions\.onnx: expected .*str.*, got 1\.2"),
        (("files",), {}, "files: expected"),
    ],
)
def test_a_wrong_field_is_named_with_got_and_expected(path: tuple[str | int, ...], value: object, message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        parse(changed(path, value))


@pytest.mark.parametrize("path", [("family",), ("source", "sha256"), (*UNET, "storage"), (*UNET, "files", 0, "path")])
def test_a_missing_field_is_named(path: tuple[str | int, ...]) -> None:
    data = copy.deepcopy(DATA)
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    with pytest.raises(MezzotintError, match=rf"a field is missing .*'{path[-1]}'"):
        parse(data)


def test_words_become_members_and_are_written_as_they_were() -> None:
    unet = parse(DATA).components["unet"]
    assert (unet.storage, unet.compute) == (Storage.INT8, Compute.BF16)
    assert isinstance(unet.storage, Storage)
    assert isinstance(unet.compute, Compute)
    assert (DATA["components"]["unet"]["storage"], DATA["components"]["unet"]["compute"]) == ("int8", "bf16")


def test_what_most_bundles_have_no_use_for_is_written_only_where_it_is_said() -> None:
    assert DATA["calibration"].keys().isdisjoint({"split_shortcuts", "costs_sha256"})
    assert "float32_weights" not in DATA["components"]["unet"]
    assert MANIFEST.calibration is not None
    record = replace(MANIFEST.calibration, split_shortcuts=True, costs_sha256="56" * 32)
    unet = replace(MANIFEST.components["unet"], float32_weights=("conv_in.weight",))
    manifest = replace(MANIFEST, calibration=record, components={"unet": unet})
    assert Manifest.parse(manifest.to_json()) == manifest
    written = json.loads(manifest.to_json())
    assert (written["calibration"]["split_shortcuts"], written["calibration"]["costs_sha256"]) == (True, "56" * 32)
    assert written["components"]["unet"]["float32_weights"] == ["conv_in.weight"]


@pytest.mark.parametrize("guidance", [5, 5.0])
def test_a_manifest_from_before_the_record_had_trajectories_opens_and_keeps_its_text(guidance: float) -> None:
    """Typed as 0.1's first bundles were, of which some have a whole number for a guidance."""
    data = copy.deepcopy(DATA)
    for name in ("trajectories", "visits"):
        del data["calibration"][name]
    data["calibration"]["guidance"] = guidance
    del data["manifest_sha256"]
    manifest = parse(data)
    assert manifest.calibration is not None
    assert (manifest.calibration.trajectories, manifest.calibration.visits) == (None, None)
    written = json.loads(manifest.to_json())
    del written["manifest_sha256"]
    assert json.dumps(written, sort_keys=True) == json.dumps(data, sort_keys=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"text"', "[" * 100_000, '{"a":' * 100_000, "9" * 10_000])
def test_text_that_is_no_manifest_is_an_error(text: str) -> None:
    with pytest.raises(MezzotintError, match=r"mezzotint\.json"):
        Manifest.parse(text)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x80", b"\x00" * 10, b" " * ((4 << 20) + 1)])
def test_bytes_that_are_no_manifest_are_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mezzotint.json"
    path.write_bytes(content)
    with pytest.raises(MezzotintError, match=r"mezzotint\.json"):
        Manifest.read(path)


def test_a_folder_without_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match=r"has no mezzotint\.json; make a bundle with `mezzotint export`"):
        Manifest.read(tmp_path / "mezzotint.json")
    with pytest.raises(MezzotintError, match="cannot be read"):
        Manifest.read(tmp_path)


def test_2000_mutated_texts_end_in_a_manifest_or_in_our_error() -> None:
    rng = random.Random(20)
    outcomes = {"read": 0, "refused": 0}
    for text in mutated_texts(rng, 2000):
        try:
            assert isinstance(Manifest.parse(text), Manifest)
            outcomes["read"] += 1
        except MezzotintError as error:
            assert str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100, outcomes  # both ends are reached, or the fuzz tests nothing


def mutated_texts(rng: random.Random, count: int) -> Iterator[str]:
    """Half with characters changed, cut out or doubled; half still JSON, with values swapped for others."""
    for index in range(count):
        yield mutated_characters(rng, MANIFEST.to_json()) if index % 2 else json.dumps(mutated_value(rng, DATA, 0.02))


def mutated_characters(rng: random.Random, text: str) -> str:
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text))
        end = start + rng.choice((1, 1, 2, 30))
        middle = rng.choice(("", rng.choice('{}[]",:0-9eE.ntu\\ \x00é\ud800'), text[start:end] * 2))
        text = text[:start] + middle + text[end:]
    return text


def mutated_value(rng: random.Random, value: Any, rate: float) -> Any:
    if rng.random() < rate:
        return rng.choice((None, True, -1, 0, 1.5, 10**400, float("nan"), "", "../x", "\ud800", [], {}, [[]], {"": 0}))
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if rng.random() >= rate / 4}
        return {key + "_" * (rng.random() < rate / 4): mutated_value(rng, item, rate) for key, item in kept.items()}
    if isinstance(value, list):
        return [mutated_value(rng, item, rate) for item in value]
    return value


def test_variants_are_written_where_there_are_some() -> None:
    """A field that older bundles lack: without it their text stays what it was, so that they verify as before."""
    assert "variants" not in DATA["source"]
    with_variants = replace(MANIFEST, source=replace(MANIFEST.source, variants={"unet": "fp16"}))
    assert Manifest.parse(with_variants.to_json()) == with_variants
    assert json.loads(with_variants.to_json())["source"]["variants"] == {"unet": "fp16"}


def test_a_manifest_of_a_newer_version_says_what_to_install() -> None:
    for data in (changed(("schema_version",), 99), changed(("surprise",), 1)):
        with pytest.raises(MezzotintError, match="install the newer Mezzotint"):
            parse(data)
