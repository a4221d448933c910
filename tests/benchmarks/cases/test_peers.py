import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference
import pytest
from onnx.reference import ReferenceEvaluator

from mezzotint.benchmarks import prepare_peers as prepare_module
from mezzotint.benchmarks.cases import peer_artefacts as artefacts_module
from mezzotint.benchmarks.cases.case import REFERENCE, Kind
from mezzotint.benchmarks.cases.lineup import line_up
from mezzotint.benchmarks.cases.peer_artefacts import ARTEFACTS, Inputs, unsigned_activations
from mezzotint.benchmarks.cases.peers import ENVIRONMENTS, PEERS, PeerState, peer_cases, peer_versions, read_state
from mezzotint.benchmarks.cases.subjects import module_of
from mezzotint.benchmarks.measure.isolate import WORKER, worker_environment
from mezzotint.benchmarks.prepare_peers import prepare_peers
from mezzotint.engines import openvino as openvino_engine
from mezzotint.errors import MezzotintError

STATE = PeerState("a" * 64, "env/bin/python", {"openvino": "1.2"})


def test_every_peer_has_an_artefact_and_an_environment_that_there_are() -> None:
    assert {peer.artefact for peer in PEERS} - {""} == {name for name, _ in ARTEFACTS}
    assert {peer.environment for peer in PEERS} - {""} == {environment.name for environment in ENVIRONMENTS}
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    STATE.write(tmp_path, "optimum-intel")
    assert read_state(tmp_path, "optimum-intel") == STATE
    assert read_state(tmp_path, "nncf-int8") is None
    assert peer_versions(tmp_path) == {"openvino of optimum-intel": "1.2"}
    (tmp_path / "nncf-int8.json").write_text("[")
    with pytest.raises(MezzotintError, match="make peers"):
        read_state(tmp_path, "nncf-int8")


def prepared(folder: Path, artefact: str) -> PeerState:
    """The state of an artefact and an interpreter that are there."""
    python = folder / "env" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.touch()
    (folder / artefact).mkdir()
    state = replace(STATE, python=str(python))
    state.write(folder, artefact)
    return state


def test_a_prepared_peer_runs_in_its_environment_and_others_say_why_not(tmp_path: Path) -> None:
    python = prepared(tmp_path, "optimum-intel").python
    replace(STATE, reason="no room").write(tmp_path, "optimum-intel-int8")
    replace(STATE, source_sha256="b" * 64).write(tmp_path, "nncf-int8")
    cases = {case.name: case for case in peer_cases(tmp_path, "checkpoint", "a" * 64)}
    assert {case.role for case in cases.values()} == {"peer"}
    ready = cases["openvino-genai-bf16"]
    assert (ready.refusal, ready.python, ready.precision) == (None, python, "bf16")
    assert ready.source == str(tmp_path / "optimum-intel")
    assert cases["optimum-intel-int8"].refusal == "no room"
    assert cases["nncf-int8-openvino"].refusal == "it was prepared from other weights; run `make peers` again"
    assert cases["optimum-onnxruntime"].refusal == "it was not prepared; `make peers` does that"
    assert cases["diffusers-compile"].source == "checkpoint"


@pytest.mark.parametrize(("is_faster", "precision"), [(True, "bf16"), (False, "f32")])
def test_others_int8_runs_in_the_precision_that_ours_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_faster: bool, precision: str
) -> None:
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: True)
    monkeypatch.setattr(openvino_engine, "is_bf16_faster", lambda: is_faster)
    cases = {case.name: case.precision for case in peer_cases(tmp_path, "checkpoint", "a" * 64)}
    openvino = {name: found for name, found in cases.items() if "int8" in name and "onnxruntime" not in name}
    assert openvino == dict.fromkeys(("nncf-int8-openvino", "optimum-intel-int8", "openvino-genai-int8"), precision)
    assert (cases["optimum-intel-bf16"], cases["nncf-int8-onnxruntime"]) == ("bf16", "f32")


@pytest.mark.parametrize("gone", ["optimum-intel", "env"])
def test_a_peer_whose_folder_or_environment_is_gone_is_not_run(tmp_path: Path, gone: str) -> None:
    prepared(tmp_path, "optimum-intel")
    shutil.rmtree(tmp_path / gone)
    cases = {case.name: case for case in peer_cases(tmp_path, "checkpoint", "a" * 64)}
    assert "is gone; run `make peers` again" in (cases["optimum-intel-fp32"].refusal or "")


def test_peers_stand_between_bundles_and_ceiling(tmp_path: Path) -> None:
    names = [case.name for case in line_up("checkpoint", [], peers=peer_cases(tmp_path, "checkpoint", "a" * 64))]
    assert names == [REFERENCE, *(peer.name for peer in PEERS if not peer.on_gpu), "other-seed"]


def test_peers_can_be_asked_for_by_name_and_a_name_that_none_has_is_refused(tmp_path: Path) -> None:
    names = ("nncf-int8-openvino", "diffusers-compile")
    cases = peer_cases(tmp_path, "checkpoint", "a" * 64, names=names)
    assert [case.name for case in cases] == ["diffusers-compile", "nncf-int8-openvino"]  # in the table's order
    with pytest.raises(MezzotintError) as refused:
        peer_cases(tmp_path, "checkpoint", "a" * 64, names=("nncf-int8-openvino", "optimum-cuda-fp16"))
    assert (refused.value.what, refused.value.got) == ("--peer", "optimum-cuda-fp16")
    assert "optimum-onnxruntime" in (refused.value.expected or ())


def test_a_gpu_has_peers_of_its_own(tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {case.name: case for case in peer_cases(tmp_path, "checkpoint", "a" * 64, on_gpu=True)}
    assert {name: (case.backend, case.precision) for name, case in cases.items()} == {
        "optimum-cuda-fp32": ("cuda", "f32"),
        "optimum-cuda-fp16": ("cuda", "f16"),
    }
    exports: list[tuple[str, ...]] = []
    monkeypatch.setattr(artefacts_module, "_optimum_cli", lambda *arguments: exports.append(arguments))
    dict(ARTEFACTS)["optimum-cuda-fp16"](inputs)
    assert exports[0][-5:] == ("--dtype", "fp16", "--device", "cuda", str(inputs.folder))
    monkeypatch.setattr(prepare_module, "_run", lambda *command: "{}" if "-c" in command else "")
    assert sorted(prepare_peers(inputs, tmp_path / "environments", on_gpu=True)) == [
        "optimum-cuda-fp16",
        "optimum-onnxruntime",
    ]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red apple\n")
    monkeypatch.setattr(prepare_module, "check_sources", lambda _checkpoint, _bundles: None)
    monkeypatch.setattr(prepare_module, "source_sha256", lambda _checkpoint: "a" * 64)
    return Inputs(tmp_path / "checkpoint", tmp_path / "bundle", prompts, tmp_path / "peers")


def test_one_that_fails_leaves_its_reason_and_is_tried_again(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fake(*command: str) -> str:
        asked.append(command[3] if "-m" in command and command[2].endswith("artefacts") else "")
        if asked[-1] == "nncf-int8":
            raise MezzotintError("it could not be prepared: out of memory")
        if asked[-1]:
            Path(command[-1]).mkdir()
        return "{}"

    monkeypatch.setattr(prepare_module, "_run", fake)
    environments = inputs.folder / "environments"
    home = environments / "optimum-intel"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").touch()
    (home / ".installed").write_text("\n".join(ENVIRONMENTS[0].packages))
    states = prepare_peers(inputs, environments)
    assert states["nncf-int8"].reason == "it could not be prepared: out of memory"
    assert states["optimum-onnxruntime"] == PeerState("a" * 64)
    assert states["optimum-intel"].python == str(home / "bin" / "python")
    asked.clear()
    prepare_peers(inputs, environments)
    assert asked == ["nncf-int8"]
    asked.clear()
    shutil.rmtree(inputs.folder / "optimum-intel")
    prepare_peers(inputs, environments)
    assert "optimum-intel" in asked
    assert list(prepare_peers(inputs, environments, names=["optimum-onnxruntime", "diffusers-compile"])) == [
        "optimum-onnxruntime"
    ]


def test_nothing_is_installed_on_a_full_disk(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = replace(ENVIRONMENTS[0], bytes_needed=10**18)
    monkeypatch.setattr(prepare_module, "ENVIRONMENTS", (huge,))
    monkeypatch.setattr(prepare_module, "_run", lambda *command: "{}" if "-c" in command else "")
    states = prepare_peers(inputs, inputs.folder / "environments")
    assert (states["optimum-intel"].reason or "").startswith(
        "the environment optimum-intel needs 1000000000 GB of free"
    )
    assert not list((inputs.folder / "environments").iterdir())


def test_unsigned_activations_are_the_same_numbers() -> None:
    model = onnx.shape_inference.infer_shapes(
        onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        graph (float[2, 3] x) => (float[2, 2] y)
        <float scale = {0.1}, int8 zero = {-20}, float fine = {0.01}, int8 none = {0},
         float[3, 2] w = {0.1, -0.2, 0.3, 0.4, -0.5, 0.6}>
        {
            q = QuantizeLinear(x, scale, zero)
            d = DequantizeLinear(q, scale, zero)
            qw = QuantizeLinear(w, fine, none)
            dw = DequantizeLinear(qw, fine, none)
            y = MatMul(d, dw)
        }
    """)
    )
    x = np.random.default_rng(0).normal(0, 6, (2, 3)).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    changed = unsigned_activations(model)
    onnx.checker.check_model(changed, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in changed.graph.initializer}
    assert (types["zero"], types["none"]) == (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)  # weights stay signed
    (got,) = ReferenceEvaluator(changed).run(None, {"x": x})
    np.testing.assert_array_equal(got, expected)


# What optimum-intel brings along, of what our own extras ask for, is not to be relied on: it changes with its versions.
_NOT_THERE = ("onnx_ir", "onnxscript", "onnx", "onnxruntime", "optimum.onnxruntime", "typer", "rich", "matplotlib")


@pytest.mark.parametrize("kind", ["optimum", "genai"])
def test_a_peer_is_measured_without_packages_that_its_environment_lacks(kind: Kind) -> None:
    """Importing is what fails there, before anything can say why: blocked in a process, as these are installed here."""
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({_NOT_THERE!r}))
importlib.import_module({WORKER[-1]!r})
importlib.import_module({module_of(kind)!r})
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=worker_environment(), check=False)
    assert done.returncode == 0, done.stderr
