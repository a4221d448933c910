"""`mezzotint dev`: what the library's own tools print and write; the tools are tested where they lie."""

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from mezzotint.benchmarks import prepare_peers as peers_module
from mezzotint.benchmarks.cases.peer_artefacts import Inputs
from mezzotint.benchmarks.cases.peers import PeerState
from mezzotint.benchmarks.report import publish as publish_module
from mezzotint.quantize.calibrate.default_prompts import DEFAULT_PROMPTS
from mezzotint.runtime import Bundle
from tests.cli.conftest import Cli


def test_startup_prints_every_start(cli: Cli, tiny_bundle: Bundle) -> None:
    options = ("--backend", "onnxruntime", "--steps", 1, "--height", 24, "--low-memory", "--runs", 1, "--json")
    code, out, err = cli("dev", "startup", tiny_bundle.path, *options)
    assert code == 0, err
    record = json.loads(out)
    assert set(record) == {"cold", "warm", "outside_graphs_share"}
    assert len(record["warm"]) == 1
    assert record["cold"]["backend"] == "onnxruntime"


def test_publish_says_what_it_wrote(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def publish(sources: list[Path], folder: Path, readme: Path, strip: Path | None, pages: list[Path]) -> list[Path]:
        asked.extend((sources, folder, readme, strip, pages))
        return [folder / "demo.json"]

    monkeypatch.setattr(publish_module, "publish", publish)
    code, out, _ = cli("dev", "publish", "README.md", "docs/results", "a.json", "b.json", "--page", "gpu.md")
    assert (code, out) == (0, "wrote docs/results/demo.json\n")
    assert asked == [[Path("a.json"), Path("b.json")], Path("docs/results"), Path("README.md"), None, [Path("gpu.md")]]


@pytest.mark.parametrize(("reason", "expected"), [(None, 0), ("no room", 1)])
def test_peers_takes_the_prompts_of_the_package_and_tells_what_could_not_be_had(
    reason: str | None, expected: int, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def prepare(inputs: Inputs, environments: Path, *, on_gpu: bool, names: Collection[str]) -> dict[str, PeerState]:
        asked.extend((inputs, environments, on_gpu, list(names)))
        return {"good": PeerState("0" * 64), "other": PeerState("0" * 64, reason=reason)}

    monkeypatch.setattr(peers_module, "prepare_peers", prepare)
    options = ("-o", "out", "--environments", "envs", "--peer", "good", "--peer", "other")
    code, out, err = cli("dev", "peers", "checkpoint", "bundle", *options)
    assert code == expected
    assert out.splitlines() == ["good: ready", f"other: {reason or 'ready'}"]
    assert ("other" in err) is (expected == 1)
    inputs = Inputs(Path("checkpoint"), Path("bundle"), DEFAULT_PROMPTS, Path("out"))
    assert asked == [inputs, Path("envs"), False, ["good", "other"]]


def test_overhead_prints_every_image(cli: Cli, tiny_bundle: Bundle) -> None:
    code, out, err = cli(
        "dev", "overhead", tiny_bundle.path, "--backend", "onnxruntime", "--steps", 1, "--rounds", 2, "--json"
    )
    assert code == 0, err
    record = json.loads(out)
    assert (len(record["direct_ms"]), len(record["served_ms"]), type(record["share"])) == (2, 2, float)
