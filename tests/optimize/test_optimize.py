"""One command from a checkpoint to a bundle: it is what export and quantize make, and its figures are true."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.bundle import write_manifest
from mezzotint.bundle.manifest import Replacement
from mezzotint.bundle.precision import Storage
from mezzotint.cli.commands import load
from mezzotint.cli.optimize import summary
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins
from mezzotint.optimize.export_cache import KEPT, ExportRequest, exported
from mezzotint.optimize.fidelity import FIRST_SEED, held_out
from mezzotint.optimize.optimize import Optimized, optimize_checkpoint
from mezzotint.quantize.calibrate.trajectories import spread
from mezzotint.runtime import Bundle, TextToImage
from tests.cli.conftest import Cli, cli
from tests.export.tracing import tracing

__all__ = ["cli"]  # a fixture
PROMPTS = tuple(f"a red apple and {count} pears" for count in range(40))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports


def nothing_begins(what: str, _done: int, _total: int) -> None:
    raise AssertionError(what)


def request_of(checkpoint: Path) -> ExportRequest:
    return ExportRequest(model=str(checkpoint), variant=None, origins=Origins(), chosen=Chosen(steps=3))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Iterator[Path]:
    """A cache folder of this module's; exports take the graphs of `tiny_bundle` for what tracing gives."""
    with pytest.MonkeyPatch.context() as patch, tracing(tiny_bundle):
        folder = tmp_path_factory.mktemp("own-cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def optimized(tiny_checkpoint: Path, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Optimized:
    del own_cache
    output = tmp_path_factory.mktemp("optimized") / "bundle"
    return optimize_checkpoint(request_of(tiny_checkpoint), output, target="onnxruntime", prompts=PROMPTS, checked=2)


def test_the_bundle_is_quantized_and_audited(optimized: Optimized) -> None:
    assert optimized.bundle.manifest.recipe == "int8"
    assert optimized.bundle.component("unet").storage is Storage.INT8
    assert optimized.coverage is not None
    assert optimized.coverage.int8_coverage == 1.0
    assert 0.3 < optimized.coverage.int8_share < 1.0
    assert optimized.bytes < optimized.float32_bytes
    assert optimized.unseen is None


def test_fidelity_is_that_of_images_with_prompts_that_calibration_did_not_see(
    optimized: Optimized, tiny_bundle: Bundle
) -> None:
    fidelity = optimized.fidelity
    assert fidelity is not None
    assert len(fidelity.prompts) == len(fidelity.psnr_db) == 2
    calibrated = {PROMPTS[index] for index in spread(len(PROMPTS), 32)}
    assert not calibrated & set(fidelity.prompts)
    images = []
    for bundle in (tiny_bundle, optimized.bundle):
        with TextToImage.load(bundle.path, backend="onnxruntime") as pipe:
            images.append(pipe(fidelity.prompts[1], seed=FIRST_SEED + 1, steps=3).pixels[0])
    assert psnr_db(*images) == pytest.approx(fidelity.psnr_db[1], abs=1e-3)
    assert fidelity.float32_step_ms is not None
    assert min(fidelity.step_ms, fidelity.float32_step_ms) > 0


def test_the_export_is_made_once(optimized: Optimized, tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert not optimized.was_exported
    again = optimize_checkpoint(
        request_of(tiny_checkpoint), tmp_path / "half", recipe="fp16", target="openvino", checked=0
    )
    assert again.was_exported
    assert again.fidelity is None
    assert again.coverage is None


def test_another_checkpoint_is_another_export_and_few_are_kept(
    optimized: Optimized, tiny_checkpoint: Path, tmp_path: Path, own_cache: Path
) -> None:
    del optimized
    for beta in (0.013, 0.014):
        copy = tmp_path / str(beta) / "checkpoint"
        shutil.copytree(tiny_checkpoint, copy)
        path = copy / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "beta_end": beta}))
        with exported(request_of(copy)) as made:
            assert not made.was_there
            assert made.bundle.config("scheduler/scheduler_config.json")["beta_end"] == beta
    kept = [path for path in (own_cache / "mezzotint" / "exports").iterdir() if path.is_dir()]
    assert len(kept) == KEPT


def test_a_part_that_lies_behind_a_link_is_looked_at(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As people share a part between checkpoints."""
    copy, elsewhere = tmp_path / "checkpoint", tmp_path / "elsewhere"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "scheduler").rename(elsewhere)
    (copy / "scheduler").symlink_to(elsewhere)
    path = elsewhere / "scheduler_config.json"
    for beta in (0.015, 0.016):
        path.write_text(json.dumps({**json.loads(path.read_text()), "beta_end": beta}))
        with exported(request_of(copy)) as made:
            assert not made.was_there
            assert made.bundle.config("scheduler/scheduler_config.json")["beta_end"] == beta


def test_the_export_of_a_copy_under_another_name_says_that_name(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(tiny_checkpoint, tmp_path / name)
        with exported(request_of(tmp_path / name)) as made:
            assert made.bundle.manifest.source.name == name


def test_without_a_cache_folder_the_export_is_there_for_the_while(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with exported(request_of(tiny_checkpoint)) as made:
        assert made.bundle.manifest.recipe == "fp32"
    assert not made.bundle.path.exists()


def test_what_is_wrong_is_said_before_the_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (
        ("there", {}),
        ("there", {"overwrite": True}),
        ("out", {"recipe": "int3"}),
        ("out", {"target": "tpu"}),
        ("out", {"target": "cuda", "recipe": "int8"}),
        ("out", {"target": "openvino", "recipe": "fp8"}),
        ("out", {"target": "tensorrt", "recipe": "int8-weights"}),
    )
    for output, options in wrong:
        with pytest.raises(MezzotintError):
            optimize_checkpoint(request_of(tiny_checkpoint), tmp_path / output, progress=nothing_begins, **options)


class _Interrupted(BaseException):
    """As KeyboardInterrupt, which pytest itself would follow."""


def interrupted_at_images(what: str, _done: int, _total: int) -> None:
    if what.startswith("images of"):
        raise _Interrupted


def only_looks(what: str, _done: int, _total: int) -> None:
    assert not what.startswith(("quantizing", "export", "running"))


def test_an_interrupted_run_goes_on_with_its_bundle(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output, recipe = tmp_path / "out", "int8-weights"
    options: dict[str, Any] = {"target": "onnxruntime", "checked": 1}
    request = request_of(tiny_checkpoint)
    with pytest.raises(_Interrupted):
        optimize_checkpoint(request, output, recipe=recipe, progress=interrupted_at_images, **options)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    for other in ({"recipe": "fp16"}, {"recipe": recipe, "prompts": PROMPTS}):  # what it was not interrupted at
        with pytest.raises(MezzotintError, match="exists"):
            optimize_checkpoint(request, output, progress=nothing_begins, **options, **other)
    again = optimize_checkpoint(request, output, recipe=recipe, progress=only_looks, **options)
    assert again.was_quantized
    assert again.fidelity is not None
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(MezzotintError, match="exists"):  # it is the user's now
        optimize_checkpoint(request, output, recipe=recipe, progress=nothing_begins, **options)


def test_a_bundle_that_took_the_place_of_an_interrupted_ones_is_the_users(
    tiny_checkpoint: Path, tiny_int8: Bundle, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"recipe": "int8-weights", "target": "onnxruntime", "checked": 1}
    request, output = request_of(tiny_checkpoint), tmp_path / "out"
    with pytest.raises(_Interrupted):
        optimize_checkpoint(request, output, progress=interrupted_at_images, **options)
    shutil.rmtree(output)
    shutil.copytree(tiny_int8.path, output)
    with pytest.raises(MezzotintError, match="exists"):
        optimize_checkpoint(request, output, progress=nothing_begins, **options)


@pytest.mark.parametrize(("count", "used", "wanted"), [(256, 32, 4), (40, 32, 4), (33, 32, 4), (5, 32, 4), (1, 1, 4)])
def test_prompts_are_held_out_where_there_are_enough(count: int, used: int, wanted: int) -> None:
    prompts = tuple(str(index) for index in range(count))
    chosen = held_out(prompts, used, wanted)
    assert len(chosen) == len(set(chosen)) == min(count, wanted)
    seen = {prompts[index] for index in spread(count, used)}
    assert (not seen & set(chosen)) == (count - len(seen) >= wanted)


def test_the_command_says_what_it_made(cli: Cli, tiny_checkpoint: Path, tmp_path: Path) -> None:
    command = ("optimize", tiny_checkpoint, "-o", "out", "--recipe", "int8-weights", "--target", "onnxruntime")
    code, out, err = cli(*command, "--check", 1)
    assert code == 0, err
    for words in ("int8-weights for onnxruntime", "smaller than FP32", "ms a step", "dB PSNR", "mezzotint generate"):
        assert words in out
    assert Bundle.open(tmp_path / "out").manifest.recipe == "int8-weights"
    code, out, err = cli(*command, "--check", 0, "--overwrite", "--json")
    assert code == 0, err
    assert json.loads(out)["was_exported"] is True


def test_the_command_takes_of_a_checkpoint_what_export_takes(
    cli: Cli, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters and controls but, which are no part of it: `export` says what to pass, to either."""
    requests: list[ExportRequest] = []

    def keep(request: ExportRequest, *_rest: object, **_options: object) -> None:
        requests.append(request)
        raise MezzotintError("that is all")

    monkeypatch.setattr("mezzotint.optimize.optimize.optimize_checkpoint", keep)
    origins = Origins(
        config=Path("c"),
        unet=Path("u"),
        vae=Path("v"),
        text_encoder=Path("t"),
        text_encoder_2=Path("t2"),
        weights="plain",
        force_vae=True,
    )
    chosen = Chosen(
        scheduler="euler", steps=3, guidance=1.5, schedule="karras", preset="turbo", prediction_type="v_prediction"
    )
    values = {**vars(origins), **vars(chosen), "variant": "fp16", "force_vae": None}
    options = [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", value)]
    code, _, err = cli("optimize", tiny_checkpoint, "-o", "out", *(text for text in options if text is not None))
    assert (code, err) == (2, "mezzotint: that is all\n")
    assert requests == [ExportRequest(model=str(tiny_checkpoint), variant="fp16", origins=origins, chosen=chosen)]
    known = {name: {option for one in load(name).params for option in one.opts} for name in ("export", "optimize")}
    assert known["export"] - known["optimize"] == {
        "checkpoint",
        "--lora",
        "--embedding",
        "--controlnet",
        "--t2i-adapter",
    }


@pytest.mark.parametrize(
    ("part", "model", "is_said"),
    [(None, None, True), ("vae", None, True), ("unet", None, False), (None, "owner/name", False)],
)
def test_a_benchmark_is_the_next_command_where_it_has_a_reference(
    part: str | None, model: str | None, is_said: bool, optimized: Optimized, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    manifest = optimized.bundle.manifest
    if part is not None:
        manifest = replace(manifest, replaced={part: Replacement(name="another", sha256="0" * 64)})
    shutil.copytree(optimized.bundle.path, tmp_path / "bundle")
    write_manifest(tmp_path / "bundle", manifest)
    result = replace(optimized, bundle=Bundle.open(tmp_path / "bundle"))
    lines = summary(result, model or str(tiny_checkpoint))
    assert any("mezzotint generate" in line for line in lines)
    assert any("mezzotint benchmark" in line for line in lines) is is_said
