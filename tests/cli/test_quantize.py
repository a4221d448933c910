"""`mezzotint quantize`: defaults that fit the machine, a plan before the work, and the result as JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.engines.cpu import cpu_features
from mezzotint.engines.lineup import ENGINES, installed_engines
from mezzotint.errors import MezzotintError
from mezzotint.quantize.calibrate.default_prompts import default_prompts
from mezzotint.quantize.calibrate.trajectories import Trajectory, run_trajectory
from mezzotint.quantize.decide.recipe import find_recipe
from mezzotint.quantize.lower import auto_target
from mezzotint.quantize.lower.auto_target import choose_target
from mezzotint.quantize.lower.target import TARGETS
from mezzotint.runtime import Bundle

from .conftest import Cli

QUICK = ("--steps", "2", "--trajectories", "2", "--samples", "2", "--steps-per-prompt", "1")


def test_nothing_but_the_bundle_is_needed(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    code, out, err = cli("quantize", tiny_bundle.path, "-o", "small", "--json", *QUICK)
    assert code == 0, err
    found = json.loads(out)
    assert found["bundle"] == "small"
    bundle = Bundle.open(tmp_path / "small")
    assert found["manifest"] == json.loads(bundle.manifest.to_json())
    assert (bundle.manifest.recipe, bundle.manifest.target) == ("int8", installed_engines()[0].name)
    assert f"target {bundle.manifest.target}: the fastest engine" in err
    assert bundle.manifest.calibration is not None
    assert json.loads(bundle.manifest.to_json())["calibration"]["prompts"] == 256


def test_a_prompt_that_is_cut_is_told_in_a_line(
    cli: Cli, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "prompts.txt").write_text("a red apple\n" + "a very long prompt " * 9 + "\n", encoding="utf-8")
    options = ("--recipe", "fp16", "--target", "onnxruntime", "--prompts", "prompts.txt")
    code, _, err = cli("quantize", tiny_bundle.path, "-o", "small", *options, *QUICK)
    assert code == 0, err
    assert "\nwarning: the prompt 'a very long" in f"\n{err}"
    assert ".py" not in err


def test_verbose_says_what_became_of_the_nodes(cli: Cli, tiny_bundle: Bundle) -> None:
    target = ("--target", "onnxruntime", "--verbose")
    code, out, err = cli("quantize", tiny_bundle.path, "-o", "small", *target, *QUICK)
    assert code == 0, err
    assert "nodes w8a8: conv[12]" in err.replace("*.resnets.*.", "")
    assert "nodes" not in out


def test_verbose_says_what_rewrites_declined(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A line for each entry of the components' passes.json; without the flag it is their number alone."""
    options = ("--recipe", "fp16", "--target", "onnxruntime")
    code, out, err = cli("quantize", tiny_bundle.path, "-o", "told", "--verbose", *options)
    assert code == 0, err
    entries = [
        (path.parent.name, rewrite, entry["node"], entry["reason"])
        for path in sorted((tmp_path / "told").glob("*/passes.json"))
        for rewrite, declined in json.loads(path.read_text(encoding="utf-8")).items()
        for entry in declined
    ]
    assert entries != []
    for component, rewrite, node, reason in entries:
        assert f"{component}: {rewrite} left {node}: {reason}" in err
    assert " left " not in out
    code, _, err = cli("quantize", tiny_bundle.path, "-o", "untold", *options)
    assert code == 0
    assert f"left {len(entries)} " in err
    assert not any(node in err for _, _, node, _ in entries)


def test_4_bit_weights_by_group_and_rank(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    options = ("--recipe", "int4-weights", "--target", "onnxruntime", "--int4-group", "16", "--int4-rank", "2")
    code, out, err = cli("quantize", tiny_bundle.path, "-o", "small", *options, *QUICK)
    assert code == 0, err
    assert "unet: int4-weights" in out
    record = Bundle.open(tmp_path / "small").component("unet").four_bits
    assert record is not None
    assert (record.group, record.rank) == (16, 2)
    code, out, _ = cli("inspect", "small")
    assert code == 0
    assert f"unet: {record}" in " ".join(out.split())
    code, out, _ = cli("audit", "small")
    assert code == 0
    assert f"4-bit weights: 100.0% of {record.linears} linears kept them in 4 bits" in " ".join(out.split())
    code, out, _ = cli("audit", "small", "--json")
    assert json.loads(out)["four_bit_coverage"] == 1.0


def test_a_dry_run_plans_and_writes_nothing(cli: Cli, tiny_bundle: Bundle, tmp_path: Path) -> None:
    code, out, err = cli("quantize", tiny_bundle.path, "--dry-run", "--json", "--target", "onnxruntime")
    assert code == 0, err
    plan = json.loads(out)
    assert plan["is_estimate"] is True
    assert {one["name"]: one["storage"] for one in plan["components"]} == {
        "text_encoder": "int8-weights",
        "unet": "int8",
        "vae_decoder": "float16",
        "vae_encoder": "float16",
    }
    assert plan["seconds"] == pytest.approx(
        plan["calibration_seconds"] + sum(one["seconds"] for one in plan["components"])
    )
    # 32 prompts, every second step of 25: 13 odd or 12 even ones and the first
    assert plan["calibration"] == "416 denoiser steps of 32 prompts"
    assert plan["peak_bytes"] > 500_000_000
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_the_trajectories_that_a_run_makes(
    cli: Cli, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts that were passed are run even where nothing needs them, and parity is then measured on them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "prompts.txt").write_text("a red apple\na blue car\na green tree\n", encoding="utf-8")
    options = ("--recipe", "fp16", "--target", "onnxruntime", "--prompts", "prompts.txt")
    quick = ("--steps", "7", "--steps-per-prompt", "3", "--trajectories", "2")
    code, out, err = cli("quantize", tiny_bundle.path, "--dry-run", "--json", *options, *quick)
    assert code == 0, err
    made: list[int] = []

    def spy(*arguments: Any) -> Trajectory:
        trajectory = run_trajectory(*arguments)
        made.append(len(trajectory.calls))
        return trajectory

    monkeypatch.setattr("mezzotint.quantize.calibrate.cached_trajectories.run_trajectory", spy)
    assert cli("quantize", tiny_bundle.path, "-o", "small", *options, *quick)[0] == 0
    assert len(made) == 2
    assert json.loads(out)["calibration"] == f"{sum(made)} denoiser steps of 2 prompts"


def test_a_dry_run_refuses_what_a_run_refuses(cli: Cli, tiny_bundle: Bundle, tiny_int8: Bundle, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n", encoding="utf-8")
    target = ("--target", "onnxruntime")
    for command in (
        (tiny_int8.path, *target),
        (tiny_bundle.path, *target, "--prompts", "none.txt"),
        (tiny_bundle.path, *target, "--set", "nose=fp16"),
        (tiny_bundle.path, "--target", "cuda"),
        (tiny_bundle.path, *target, "--width", "13"),
        (tiny_bundle.path, *target, "--int4-group", "64"),
        (tiny_bundle.path, *target, "--recipe", "int4-weights", "--int4-group", "20"),
        (tiny_bundle.path, *target, "--recipe", "int4-weights", "--min-sqnr-db", "20"),
        (tiny_bundle.path, *target, "--approximate", "deep-cash"),
        (tiny_bundle.path, *target, "--approximate", "deep-cache:9"),
        (tiny_bundle.path, *target, "--skip-pass", "all"),
        (tiny_bundle.path, *target, "--recipe", "fp16", "--split-shortcuts"),
        (tiny_bundle.path, *target, "--int8-attention"),
        (tiny_bundle.path, *target, "--costs", "costs.json"),
        (tiny_bundle.path, *target, "--base", tiny_bundle.path),
        (tiny_bundle.path, *target, "--memory-limit", "much"),
    ):
        planned = cli("quantize", *command, "--dry-run")
        made = cli("quantize", *command, "-o", "small")
        assert planned[0] == made[0] == 2, command
        assert planned[2].splitlines()[-1] == made[2].splitlines()[-1], command


def test_a_dry_run_for_a_reader_says_that_it_is_an_estimate(cli: Cli, tiny_bundle: Bundle) -> None:
    code, out, _ = cli("quantize", tiny_bundle.path, "--dry-run", "--recipe", "fp16", "--target", "onnxruntime")
    assert code == 0
    assert "nothing was written" in out
    assert "estimate: " in out
    assert "calibration: none" in out


def test_prompts_of_the_package_are_many_plain_and_different() -> None:
    prompts = default_prompts()
    assert len(prompts) == len(set(prompts)) == 256
    assert all(prompt.isascii() and prompt.isprintable() for prompt in prompts)
    lengths = sorted(len(prompt.split()) for prompt in prompts)
    assert lengths[0] <= 4 and lengths[-1] >= 16


def test_targets_are_engines() -> None:
    assert {target.name for target in TARGETS} == {engine.name for engine in ENGINES}


def with_engines(monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
    engines = tuple(
        replace(one, package="json" if one.name in installed else "no_such_package", lacks=lambda: None)
        for one in ENGINES
    )
    monkeypatch.setattr(auto_target, "ENGINES", engines)


@pytest.mark.parametrize(
    ("installed", "recipe", "expected"),
    [
        (("openvino", "onnxruntime"), "int8", "openvino"),
        (("onnxruntime",), "int8", "onnxruntime"),
        (("cuda", "tensorrt", "openvino"), "fp16", "cuda"),
        (("cuda", "tensorrt", "openvino"), "int8", "tensorrt"),  # CUDA has no INT8 convolution
        (("cuda", "openvino"), "int8-weights", "openvino"),
    ],
)
def test_auto_takes_the_fastest_engine_that_can(
    installed: tuple[str, ...], recipe: str, expected: str, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engines(monkeypatch, *installed)
    monkeypatch.setattr(auto_target, "cpu_features", lambda: frozenset({"avx512_vnni"}))
    choice = choose_target(tiny_bundle, find_recipe(recipe), {})
    assert choice.target.name == expected
    assert "fastest" in choice.reason


def test_auto_takes_no_int8_target_on_a_cpu_that_would_saturate(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engines(monkeypatch, "openvino", "onnxruntime")
    monkeypatch.setattr(auto_target, "cpu_features", lambda: cpu_features() - {"avx512_vnni", "avx_vnni"})
    assert choose_target(tiny_bundle, find_recipe("fp16"), {}).target.name == "openvino"
    with pytest.raises(MezzotintError) as error:
        choose_target(tiny_bundle, find_recipe("int8"), {})
    assert error.value.what is not None and error.value.advice is not None
    assert "avx512_vnni or avx_vnni" in error.value.what


def test_auto_without_an_engine_says_what_each_lacks(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with_engines(monkeypatch)
    with pytest.raises(MezzotintError) as error:
        choose_target(tiny_bundle, find_recipe("fp16"), {})
    assert all(engine.name in str(error.value) for engine in ENGINES)


def test_auto_names_the_target_that_another_machine_would_run(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engines(monkeypatch, "openvino", "onnxruntime")
    with pytest.raises(MezzotintError) as error:
        choose_target(tiny_bundle, find_recipe("fp8"), {})
    assert "cuda cannot take unet in fp8" in str(error.value.what)
    assert str(error.value.advice).startswith("--target tensorrt makes the bundle here all the same")
