"""Of a hub repository the weights that are read are downloaded, by the hub's own client from a hub on this machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.export.fake_hub import COMMIT, FakeHub, serve

MODEL = "someone/small"
UNET = "diffusion_pytorch_model"
FETCH = """  # without the package around it, which imports PyTorch
import importlib.util, sys
from mezzotint.errors import MezzotintError
spec = importlib.util.spec_from_file_location("hub", "export/hub.py")
hub = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hub)
try:
    print(hub.download(sys.argv[1], sys.argv[2] or None))
except MezzotintError as error:
    sys.exit(f"refused: {error}")
"""
Fetch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def repository(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Plain, fp16 and non_ema weights side by side, each as safetensors and .bin, and much else.

    No two files are equal, for the client downloads equal ones once.
    """
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "repository")
    for part, safe, pickled in (("text_encoder", "model", "pytorch_model"), ("unet", UNET, UNET), ("vae", UNET, UNET)):
        for name in (f"{safe}.fp16.safetensors", f"{pickled}.bin", f"{pickled}.fp16.bin", "openvino_model.bin"):
            (folder / part / name).write_text(f"{part}/{name}", encoding="utf-8")
    (folder / "unet" / f"{UNET}.non_ema.safetensors").write_bytes(b"not averaged")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"weights")
    (folder / "v1-5-pruned.ckpt").write_bytes(b"weights")
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[FakeHub]:
    with serve(repository, MODEL) as running:
        yield running


@pytest.fixture
def fetch(hub: FakeHub, tmp_path: Path, repo_root: Path) -> Fetch:
    """`download` in a process of its own, since the client reads its environment when it is imported."""

    def run(model: str = MODEL, variant: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        settings |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        unset = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN")
        env = {name: value for name, value in os.environ.items() if name not in unset} | settings | environment
        command = [sys.executable, "-c", FETCH, model, variant]
        return subprocess.run(command, env=env, cwd=repo_root, capture_output=True, text=True, check=False, timeout=300)

    return run


def weights(sent: list[str]) -> list[str]:
    return sorted(name for name in sent if not name.endswith((".json", ".txt")))


def test_one_variant_of_each_component_is_downloaded(hub: FakeHub, fetch: Fetch) -> None:
    done = fetch()
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.name == COMMIT
    plain = ["text_encoder/model.safetensors", f"unet/{UNET}.safetensors", f"vae/{UNET}.safetensors"]
    assert weights(hub.sent) == plain
    assert all((folder / name).is_file() for name in [*plain, "model_index.json", "tokenizer/merges.txt"])
    hub.sent.clear()
    assert fetch(variant="non_ema").returncode == 0
    assert hub.sent == [f"unet/{UNET}.non_ema.safetensors"]  # the others are there
    hub.sent.clear()
    offline = fetch(HF_HUB_OFFLINE="1")
    assert (offline.stdout, hub.sent) == (done.stdout, [])
    assert fetch(HF_ENDPOINT="http://127.0.0.1:9").stdout == done.stdout  # nobody answers there


def test_pickles_are_downloaded_where_there_is_nothing_else(repository: Path, hub: FakeHub, fetch: Fetch) -> None:
    for path in repository.glob("*/*.safetensors"):
        path.unlink()
    assert fetch().returncode == 0
    assert weights(hub.sent) == ["text_encoder/pytorch_model.bin", f"unet/{UNET}.bin", f"vae/{UNET}.bin"]


def test_the_shards_that_the_index_names(repository: Path, hub: FakeHub, fetch: Fetch) -> None:
    (repository / "unet" / f"{UNET}.safetensors").unlink()
    shards = [f"{UNET}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name in [*shards, f"{UNET}.fp16-00001-of-00001.safetensors"]:
        (repository / "unet" / name).write_text(name, encoding="utf-8")
    index = {"metadata": {}, "weight_map": dict(zip("ab", shards, strict=True))}
    (repository / "unet" / f"{UNET}.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert fetch().returncode == 0
    assert [name for name in weights(hub.sent) if name.startswith("unet/")] == [f"unet/{name}" for name in shards]


def test_graphs_of_optimum(repository: Path, hub: FakeHub, fetch: Fetch) -> None:
    for path in [*repository.glob("*/*.safetensors"), *repository.glob("*/*.bin")]:
        path.unlink()
    for name in ("unet/model.onnx", "unet/model.onnx_data"):
        (repository / name).write_text(name, encoding="utf-8")
    assert fetch().returncode == 0
    assert sorted(name for name in hub.sent if "onnx" in name) == ["unet/model.onnx", "unet/model.onnx_data"]


def test_what_the_cache_lacks_without_a_network_is_named(fetch: Fetch) -> None:
    folder = Path(fetch().stdout.strip())
    (folder / "unet" / f"{UNET}.safetensors").unlink()
    done = fetch(HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    for part in ("refused", "unet has no weights", MODEL, "where there is a network"):
        assert part in done.stderr


@pytest.mark.parametrize(
    ("model", "variant", "said"),
    [
        (MODEL, "bf16", "has no weights of the variant 'bf16'"),
        ("someone/else", "", "the hub has no such repository"),
    ],
)
def test_refusals(model: str, variant: str, said: str, hub: FakeHub, fetch: Fetch) -> None:
    done = fetch(model, variant)
    assert done.returncode == 1
    assert done.stderr.startswith(f"refused: {model} ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert weights(hub.sent) == []
