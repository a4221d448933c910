"""`mezzotint lora`: adapters in the weights of bundles, against diffusers with weights that torch has merged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint.adapters.given import GivenAdapter
from mezzotint.bundle.folded import FOLDED_FILE
from mezzotint.decibel import psnr_db
from mezzotint.errors import CheckFailed, MezzotintError
from mezzotint.quantize import fuse_adapters
from mezzotint.runtime import Bundle, TextToImage
from tests.adapters.made import FORMS, kohya, make, save
from tests.adapters.merged import Merged
from tests.quantize.adapt.conftest import KINDS, Quantized, adapter

PROMPT = "a flat emoji of a green leaf"
OPTIONS: dict[str, Any] = {"steps": 4, "guidance": 4.0, "seed": 5}
FAST = ("lora",)


def image(bundle: Bundle, backend: str = "onnxruntime") -> Any:
    with TextToImage.load(bundle.path, backend=backend, precision="f32") as pipe:
        return pipe(PROMPT, **OPTIONS).pixels


@pytest.mark.parametrize("form", [pytest.param(form, marks=[] if form in FAST else pytest.mark.slow) for form in FORMS])
def test_fp32_images_are_those_of_diffusers(
    form: str, tiny_bundle: Bundle, merged: Callable[[], Merged], tmp_path: Path
) -> None:
    models = merged()
    given = GivenAdapter(path=adapter(tmp_path / "one.safetensors", models, form, 0.7), scale=0.7)
    bundle = fuse_adapters(tiny_bundle.path, [given], tmp_path / "out")
    assert psnr_db(models.image(PROMPT, **OPTIONS), image(bundle)) >= 80
    assert psnr_db(merged().image(PROMPT, **OPTIONS), image(bundle)) < 60


def test_what_is_not_changed_is_copied(tiny_bundle: Bundle, merged: Callable[[], Merged], tmp_path: Path) -> None:
    made = make("lora", {name: shape for name, shape in merged().shapes("unet").items() if name.endswith("to_q")})
    given = GivenAdapter(path=save(tmp_path / "one.safetensors", made, kohya("lora_unet_")), scale=-0.5)
    bundle = fuse_adapters(tiny_bundle.path, [given], tmp_path / "out")
    assert bundle.verify() == tiny_bundle.verify()
    before = {entry.path: entry.sha256 for entry in tiny_bundle.entries()}
    changed = {entry.path for entry in bundle.entries() if before.get(entry.path) != entry.sha256}
    assert changed == {"unet/model.onnx", "README.md"}
    (record,) = bundle.manifest.fused
    assert (record.name, record.scale, record.forms) == ("one.safetensors", -0.5, ("LoRA",))
    assert bundle.component("unet").parity is None
    again = fuse_adapters(tiny_bundle.path, [given], tmp_path / "again")
    assert again.manifest == bundle.manifest  # hashes and all


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "target"), KINDS)
def test_quantized_bundles_too(
    recipe: str,
    target: str,
    quantized: Quantized,
    tiny_bundle: Bundle,
    merged: Callable[[], Merged],
    tmp_path: Path,
) -> None:
    """As close to diffusers with the adapter as the bundle was to diffusers without, but for 3 dB."""
    models, source = merged(), quantized(recipe, target)
    given = GivenAdapter(path=adapter(tmp_path / "one.safetensors", models, "lora", 0.5), scale=0.5)
    prompts = ["a red apple"]
    bundle = fuse_adapters(source.path, [given], tmp_path / "out", base=tiny_bundle.path, prompts=prompts)
    bundle.verify()
    before = psnr_db(merged().image(PROMPT, **OPTIONS), image(source, target))
    found = image(bundle, target)
    assert psnr_db(models.image(PROMPT, **OPTIONS), found) >= before - 3
    assert psnr_db(image(source, target), found) < 45
    parity, old = bundle.component("unet").parity, source.component("unet").parity
    assert parity is not None
    assert old is not None
    assert parity.sqnr_db is not None
    assert old.sqnr_db is not None
    assert parity.sqnr_db > old.sqnr_db - 2
    unchanged = [entry.sha256 for entry in source.component("vae_decoder").files]
    assert [entry.sha256 for entry in bundle.component("vae_decoder").files] == unchanged


@pytest.mark.slow
def test_an_adapter_that_breaks_the_ranges_is_refused(
    quantized: Quantized, tiny_bundle: Bundle, merged: Callable[[], Merged], tmp_path: Path
) -> None:
    path = adapter(tmp_path / "one.safetensors", merged(), "lora")
    with pytest.raises(CheckFailed, match="quantize that"):
        fuse_adapters(
            quantized("int8", "openvino").path,
            [GivenAdapter(path=path, scale=60.0)],
            tmp_path / "out",
            base=tiny_bundle.path,
        )
    assert list(tmp_path.iterdir()) == [path]


def test_bundles_that_cannot_be_changed_are_refused(
    quantized: Quantized, tiny_bundle: Bundle, merged: Callable[[], Merged], tmp_path: Path
) -> None:
    given = [GivenAdapter(path=adapter(tmp_path / "one.safetensors", merged(), "lora"))]
    source = quantized("int8", "openvino").path
    old = Path(shutil.copytree(source, tmp_path / "old"))
    (old / "unet" / FOLDED_FILE).unlink()
    text = (old / "mezzotint.json").read_text(encoding="utf-8")
    (old / "mezzotint.json").write_text(text.replace(f"unet/{FOLDED_FILE}", "unet/config.json"), encoding="utf-8")
    for path, base, words in (
        (source, None, "--base"),
        (source, source, "expected the FP32 bundle"),
        (tiny_bundle.path, tiny_bundle.path, "needs no --base"),
    ):
        with pytest.raises(MezzotintError, match=words) as error:
            fuse_adapters(path, given, tmp_path / "out", base=base)
        assert error.value.exit_code == 2
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("is_small", [True, False])
def test_numbers_that_are_none_leave_nothing_behind(
    number: float,
    is_small: bool,
    tiny_bundle: Bundle,
    merged: Callable[[], Merged],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights are changed while a graph is written, be they in it or beside it."""
    if not is_small:
        monkeypatch.setattr("mezzotint.quantize.graphs.graph_file.EXTERNAL_DATA_THRESHOLD_BYTES", 0)
    made = make("lora", {name: shape for name, shape in merged().shapes("unet").items() if name.endswith("to_q")})
    next(iter(made.values())).factors["lora_up.weight"][0, 0] = number
    given = GivenAdapter(path=save(tmp_path / "one.safetensors", made, kohya("lora_unet_")))
    with pytest.raises(MezzotintError, match=r"one\.safetensors.*not finite"):
        fuse_adapters(tiny_bundle.path, [given], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
