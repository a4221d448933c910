"""The commands do what the library does, say what they did, and exit with the code that is promised.

Bad input is in test_cli_refusals.py.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint import __version__
from mezzotint.bundle.declined import read_declines
from mezzotint.cli.commands import COMMANDS as ENTRIES
from mezzotint.cli.commands import Entry, load
from mezzotint.runtime import Bundle, TextToImage
from tests.cli.conftest import Cli
from tests.quantize.small_graphs import with_large_weight

PROMPT = "a flat emoji of a red apple on a blue background"
COMMANDS = tuple(entry.name for entry in ENTRIES)


def test_help_names_every_command(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    assert [entry.name for entry in ENTRIES if (f" {entry.name} " in out) is entry.is_hidden] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_list_has_the_first_paragraph_of_each_commands_help(entry: Entry) -> None:
    paragraph = (load(entry.name).help or "").split("\n\n")[0]
    assert " ".join(paragraph.split()) == entry.summary


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, cli: Cli) -> None:
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert "Usage" in out


def test_the_version(cli: Cli) -> None:
    assert cli("--version")[:2] == (0, f"{__version__}\n")


def test_wrong_usage_is_exit_code_2(cli: Cli, tiny_bundle: Bundle) -> None:
    for arguments in (
        ("paint",),
        ("generate",),
        ("generate", tiny_bundle.path, PROMPT),
        ("generate", tiny_bundle.path, PROMPT, "-o", "out.png", "--steps", "many"),
        ("generate", tiny_bundle.path, PROMPT, "-o", "out.png", "--steps", "0"),
        ("verify", tiny_bundle.path, "--loudly"),
    ):
        code, _, err = cli(*arguments)
        assert code == 2, arguments
        assert "Traceback" not in err


def test_generate_generates_what_the_library_generates(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    size = ("--height", 12, "--width", 20)
    options = ("--steps", 3, "--guidance", 4, "--seed", 5, "--scheduler", "euler", "--negative-prompt", "a dog")
    command = ("generate", tiny_bundle.path, PROMPT, "-o", "out.png", "--backend", "onnxruntime", *options, *size)
    code, out, err = cli(*command)
    assert code == 0, err
    assert out.startswith("wrote out.png in ")
    pipe = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    result = pipe(
        PROMPT, negative_prompt="a dog", steps=3, guidance=4.0, seed=5, scheduler="euler", height=12, width=20
    )
    expected = result.images[0]
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (20, 12)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_auto_says_which_backend_and_why(cli: Cli, tiny_int8: Bundle) -> None:
    code, _, err = cli("generate", tiny_int8.path, PROMPT, "-o", "out.png", "--steps", "1")
    assert code == 0
    assert "backend onnxruntime: " in err


def test_overwrite_replaces_an_image(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"old")
    command = ("generate", tiny_bundle.path, PROMPT, "-o", "out.png", "--steps", "1", "--backend", "onnxruntime")
    assert cli(*command, "--overwrite")[0] == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (16, 16)


def test_quantize_writes_a_bundle_and_says_what_it_cost(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    set_ = ("--set", "vae_encoder=fp32", "--set", "text_encoder=int8-weights")
    options = ("--recipe", "fp16", "--target", "onnxruntime", *set_)
    code, out, err = cli("quantize", tiny_bundle.path, "-o", "small", *options)
    assert code == 0, err
    assert "unet: float16, computes in f32" in out
    assert "graph rewrites left" not in err  # the text encoder, whose attention has a mask, keeps its graph
    assert out.endswith("wrote small\n")
    bundle = Bundle.open(tmp_path / "small")
    assert bundle.component("vae_encoder").storage == "float32"
    assert bundle.component("text_encoder").storage == "int8-weights"


def test_quantize_names_weights_that_fp16_cannot_hold(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    source = with_large_weight(tiny_bundle, tmp_path / "large")
    options = ("--recipe", "fp16", "--target", "onnxruntime", "--verbose")
    code, out, err = cli("quantize", source, "-o", "small", *options)
    assert code == 0, err
    listed = [line.split(": ")[:2] for line in err.splitlines() if " left " in line]
    assert ["vae_decoder", "store-half left decoder.conv_in.weight"] in listed
    assert ["text_encoder", "ort-attention left text_model.encoder.layers.0.self_attn/Attention"] in listed
    assert [line for line in out.splitlines() if "float32" in line and line.endswith("decoder.conv_in.weight")] != []
    code, out, _ = cli("inspect", tmp_path / "small", "--json")
    assert code == 0
    assert json.loads(out)["components"]["vae_decoder"]["float32_weights"] == ["decoder.conv_in.weight"]
    declined = read_declines(tmp_path / "small" / "vae_decoder" / "passes.json")
    assert [one.node for one in declined["store-half"]] == ["decoder.conv_in.weight"]
    code, out, _ = cli("inspect", tmp_path / "small")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "store-half" in line]
    assert [row[:2] for row in rows] == [["vae_decoder", "store-half"]]


def test_inspect_shows_every_component(cli: Cli, tiny_int8: Bundle) -> None:
    code, out, _ = cli("inspect", tiny_int8.path)
    assert code == 0
    assert "recipe int8, target onnxruntime" in out
    assert all(name in out for name in tiny_int8.manifest.components)


def test_inspect_shows_the_calibration_whole(cli: Cli, tiny_int8: Bundle, tmp_path: Path) -> None:
    """Only hashes are shortened."""
    shutil.copytree(tiny_int8.path, tmp_path / "large")
    manifest = json.loads((tmp_path / "large/mezzotint.json").read_text(encoding="utf-8"))
    manifest["calibration"] |= {"latent_shape": [4, 128, 128], "controlled_by": "the edges of random discs"}
    (tmp_path / "large/mezzotint.json").write_text(json.dumps(manifest), encoding="utf-8")
    code, out, err = cli("inspect", "large")
    assert code == 0, err
    assert "latent_shape [4, 128, 128]" in out
    assert "controlled_by the edges of random discs" in out
    assert manifest["calibration"]["prompts_sha256"] not in out


def test_inspect_json_is_the_manifest(cli: Cli, tiny_int8: Bundle) -> None:
    code, out, _ = cli("inspect", tiny_int8.path, "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tiny_int8.path / "mezzotint.json").read_text(encoding="utf-8"))


def test_inspect_explains_a_node(cli: Cli, tiny_int8: Bundle) -> None:
    code, out, _ = cli("inspect", tiny_int8.path, "--explain", "mid_block.resnets.0.conv1")
    assert code == 0
    ((name, decision),) = json.loads(out).items()
    assert name == "unet/mid_block.resnets.0.conv1/Conv"
    assert decision["scheme"] == "w8a8"
    assert "conv[12]" in decision["rule"]


def test_inspect_knows_no_such_node(cli: Cli, tiny_int8: Bundle) -> None:
    code, _, err = cli("inspect", tiny_int8.path, "--explain", "no_such_node")
    assert code == 2
    assert "no quantizable node called 'no_such_node' in unet" in err


def test_audit_sees_integer_kernels(cli: Cli, tiny_int8: Bundle) -> None:
    code, out, err = cli("audit", tiny_int8.path, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["int8_coverage"], 0.0 < found["int8_share"] < 1.0) == (1.0, True)
    assert {kernel["operation"] for kernel in found["kernels"] if kernel["precision"] == "int8"} >= {"QLinearConv"}


def test_verify_finds_a_flipped_byte(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    assert cli("verify", copy)[0] == 0
    graph = copy / "unet" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    code, _, err = cli("verify", copy)
    assert code == 1
    assert err.startswith("mezzotint: ")
    assert "unet/model.onnx is changed" in err


def test_the_module_runs_as_a_program(tiny_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mezzotint", "verify", str(tiny_bundle.path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "match the manifest" in done.stdout


def test_ctrl_c_is_exit_code_130_and_leaves_no_image(tiny_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mezzotint", "generate", str(tiny_bundle.path), PROMPT, "-o", "out.png"]
    options = ["--steps", "999", "--height", "64", "--width", "64", "--backend", "onnxruntime"]
    listens = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell has its background jobs ignore it
    with subprocess.Popen(
        [*command, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=listens
    ) as process:
        assert process.stderr is not None
        assert any(line.startswith("generating") for line in process.stderr)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
