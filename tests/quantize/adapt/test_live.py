"""`mezzotint lora --live`: branches beside layers give what adapters in the weights give, and nothing when off."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.adapters.given import GivenAdapter
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.quantize import (
    CalibrationSettings,
    add_live_adapters,
    audit_bundle,
    check_coverage,
    fuse_adapters,
    quantize_bundle,
)
from mezzotint.runtime import Bundle, TextToImage, read_settings
from mezzotint.runtime.images.files import read_image
from mezzotint.serve.work.bundle_maker import BundleMaker
from tests.adapters.made import kohya, make, save
from tests.adapters.merged import Merged, gentle
from tests.conftest import MakeOnce
from tests.quantize.adapt.conftest import LIVE_KINDS, Quantized, adapter
from tests.serve.live import ENGINE
from tests.serve.live import live as serving

PROMPT = "a flat emoji of a green leaf"
OPTIONS: dict[str, Any] = {"steps": 4, "guidance": 4.0, "seed": 5}
SCALES = {"style": 0.8, "detail": -0.5}


@pytest.fixture(scope="module")
def files(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of all linears and convolutions, and of attention alone with another rank."""
    folder, models = tmp_path_factory.mktemp("adapters"), Merged(tiny_checkpoint)
    attention = {name: shape for name, shape in models.shapes("unet").items() if ".attn" in name}
    detail = gentle(make("lora", attention, seed=7))
    return {
        "style": adapter(folder / "style.safetensors", models, "lora"),
        "detail": save(folder / "detail.safetensors", detail, kohya("lora_unet_")),
        "loha": adapter(folder / "loha.safetensors", models, "loha"),
        "dora": adapter(folder / "dora.safetensors", models, "dora"),
    }


@pytest.fixture(scope="module")
def live(make_once: MakeOnce, tiny_bundle: Bundle, quantized: Quantized, files: dict[str, Path]) -> Quantized:
    """Two adapters on a bundle by recipe and target."""
    given = [GivenAdapter(path=files[name]) for name in SCALES]

    def add(recipe: str, target: str) -> Bundle:
        source, base = (tiny_bundle, None) if recipe == "fp32" else (quantized(recipe, target), tiny_bundle.path)

        def make(folder: Path) -> None:
            add_live_adapters(source.path, given, folder, base=base)

        return Bundle.open(make_once(f"live-{recipe}-{target}", make))

    return add


@pytest.fixture(scope="module")
def pipe(live: Quantized) -> TextToImage:
    return TextToImage.load(live("fp32", "portable").path, backend="onnxruntime")


def image(bundle: Bundle, backend: str = "onnxruntime", prompt: str = PROMPT, **options: Any) -> Any:
    with TextToImage.load(bundle.path, backend=backend, precision="f32") as pipe:
        return pipe(prompt, **{**OPTIONS, **options}).pixels


def test_fp32_is_what_fusing_gives(
    pipe: TextToImage, files: dict[str, Path], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    given = [GivenAdapter(path=files[name], scale=scale) for name, scale in SCALES.items()]
    plain, fused = image(tiny_bundle), image(fuse_adapters(tiny_bundle.path, given, tmp_path / "fused"))
    found, off = pipe(PROMPT, loras=SCALES, **OPTIONS).pixels, pipe(PROMPT, **OPTIONS).pixels
    assert psnr_db(fused, found) >= 80
    assert psnr_db(plain, found) < 50
    assert psnr_db(plain, off) > 110  # engines fuse, and round, in another order
    np.testing.assert_array_equal(off, pipe(PROMPT, loras={"style": 0.0}, **OPTIONS).pixels)
    asked = f"{PROMPT} <lora:style:0.8><lora:detail:-0.5>"
    np.testing.assert_array_equal(found, pipe(asked, prompt_syntax="weighted", **OPTIONS).pixels)


@pytest.mark.parametrize(("recipe", "target"), LIVE_KINDS)
def test_quantized_graphs_have_branches_too(recipe: str, target: str, live: Quantized, quantized: Quantized) -> None:
    """As close to FP32 with the adapters as the bundle is to FP32 without, but for 3 dB; off, it is what it was."""
    bundle, before, exact = live(recipe, target), quantized(recipe, target), live("fp32", "portable")
    bundle.verify()
    fidelity = psnr_db(image(exact), image(before, target))
    assert psnr_db(image(exact, loras=SCALES), image(bundle, target, loras=SCALES)) >= fidelity - 3
    assert psnr_db(image(before, target), image(bundle, target, loras=SCALES)) < 50
    assert psnr_db(image(before, target), image(bundle, target)) >= (100 if target == "onnxruntime" else 60)
    if recipe in ("int8", "int4-weights"):
        check_coverage(audit_bundle(bundle, target))
    if (recipe, target) == ("int8", "openvino"):  # scores of attention too, between layers with branches
        assert bundle.manifest.calibration is not None
        assert bundle.manifest.calibration.int8_attention


def test_the_manifest_and_the_files(live: Quantized) -> None:
    bundle = live("fp32", "portable")
    assert [(one.name, one.file, one.forms, one.rank, one.kept) for one in bundle.manifest.live] == [
        ("style", "style.safetensors", ("LoRA",), 4, 1.0),
        ("detail", "detail.safetensors", ("LoRA",), 4, 1.0),
    ]
    unet, text = bundle.component("unet"), bundle.component("text_encoder")
    assert [Path(entry.path).name for entry in unet.files] == ["model.onnx", "lora-0.onnx_data", "lora-1.onnx_data"]
    assert [Path(entry.path).name for entry in text.files] == ["model.onnx", "lora-0.onnx_data"]
    assert (unet.inputs[-1].name, unet.inputs[-1].dims) == ("lora_scale", (2,))


def test_a_large_graph_has_its_weights_beside_it(
    pipe: TextToImage, files: dict[str, Path], tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in itself what ONNX Runtime reads shapes from."""
    monkeypatch.setattr("mezzotint.quantize.adapt.live.EXTERNAL_DATA_THRESHOLD_BYTES", 0)
    given = [GivenAdapter(path=files[name]) for name in SCALES]
    bundle = add_live_adapters(tiny_bundle.path, given, tmp_path / "out")
    paths = [Path(entry.path).name for entry in bundle.component("unet").files]
    assert paths == ["model.onnx", "model.onnx_data", "lora-0.onnx_data", "lora-1.onnx_data"]
    expected = pipe(PROMPT, loras=SCALES, **OPTIONS).pixels
    np.testing.assert_array_equal(image(bundle, loras=SCALES), expected)


def test_an_image_says_which_it_was_made_with(pipe: TextToImage, tmp_path: Path) -> None:
    result = pipe(PROMPT, loras=SCALES, **OPTIONS)
    result.write(tmp_path / "one.png")
    settings = read_settings(tmp_path / "one.png")
    assert settings.loras == SCALES
    np.testing.assert_array_equal(pipe.generate(settings).pixels, result.pixels)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loras": {"style": float("nan")}}, "finite"),
        ({"loras": {"style": 1e9}}, "-100 to 100"),
        ({"loras": ["style"]}, "scales by name"),
        ({"prompt": "a <lora:style:x>", "prompt_syntax": "weighted"}, "a number after style"),
        ({"prompt": "a <lora:style> <lora:style:2>", "prompt_syntax": "weighted"}, "twice"),
        ({"prompt": "a <lora:style>", "loras": {"style": 1.0}, "prompt_syntax": "weighted"}, "among the loras"),
        ({"prompt": ["a <lora:style>", "b"], "prompt_syntax": "weighted"}, "one batch"),
        ({"negative_prompt": "<lora:style:1>", "prompt_syntax": "weighted"}, "extra network"),
    ],
)
def test_odd_calls_are_refused(options: dict[str, Any], words: str, pipe: TextToImage) -> None:
    with pytest.raises(MezzotintError, match=words):
        pipe(**{"prompt": PROMPT, **OPTIONS, **options})


def test_an_adapter_that_nobody_knows_names_those_that_are_there(pipe: TextToImage) -> None:
    with pytest.raises(MezzotintError) as caught:
        pipe(PROMPT, loras={"nobody": 1.0}, **OPTIONS)
    assert "'nobody'" in (caught.value.what or "")
    assert caught.value.expected == ("style", "detail")


def test_a_bundle_without_adapters_says_so(tiny_bundle: Bundle) -> None:
    pipe = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    with pipe, pytest.raises(MezzotintError) as caught:
        pipe(PROMPT, loras={"style": 1.0}, **OPTIONS)
    assert caught.value.where == tiny_bundle.path
    assert "no live adapters" in str(caught.value.expected)


@pytest.mark.slow
def test_other_forms_are_cut_and_the_manifest_says_how_much_is_left(
    files: dict[str, Path], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """LoHa's rank is up to 16, the square of its factors'."""
    given = GivenAdapter(path=files["loha"])
    whole = add_live_adapters(tiny_bundle.path, [given], tmp_path / "whole")
    cut = add_live_adapters(tiny_bundle.path, [given], tmp_path / "cut", most_rank=6)
    assert whole.manifest.live[0].kept > 0.9998
    assert whole.manifest.live[0].rank <= 16
    assert 0.3 < cut.manifest.live[0].kept < 0.99
    assert cut.manifest.live[0].rank == 6
    fused = image(fuse_adapters(tiny_bundle.path, [given], tmp_path / "fused"))
    found = [psnr_db(fused, image(bundle, loras={"loha": 1.0})) for bundle in (whole, cut)]
    assert found[0] > 50
    assert found[0] > found[1] + 3


def test_what_cannot_stand_beside_a_layer_is_refused(
    files: dict[str, Path], live: Quantized, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    style = GivenAdapter(path=files["style"])
    odd = Path(str(files["style"]).replace("style", "o,d"))
    odd.write_bytes(files["style"].read_bytes())
    for source, given, words in (
        (tiny_bundle.path, [GivenAdapter(path=files["dora"])], "DoRA.*fuse"),
        (live("fp32", "portable").path, [style], "has live adapters already"),
        (tiny_bundle.path, [GivenAdapter(path=files["style"], scale=0.5)], "in each call"),
        (tiny_bundle.path, [style, style], "given twice"),
        (tiny_bundle.path, [GivenAdapter(path=odd)], "cannot be a live adapter's name"),
    ):
        with pytest.raises(MezzotintError, match=words):
            add_live_adapters(source, given, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(MezzotintError, match="live adapters"):
        fuse_adapters(live("fp32", "portable").path, [style], tmp_path / "out")
    with pytest.raises(MezzotintError, match="live adapters"):
        quantize_bundle(live("fp32", "portable").path, tmp_path / "out", recipe="int8", target="openvino")


def test_a_bundle_whose_floats_are_calibrated_says_to_fuse(
    files: dict[str, Path], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    settings = CalibrationSettings(scheduler="ddim", steps=4, trajectories=1, visits=2, calls=2)
    options: dict[str, Any] = {"recipe": "fp16", "target": "cuda", "prompts": ["a red apple"], "settings": settings}
    source = quantize_bundle(tiny_bundle.path, tmp_path / "bundle", **options)
    with pytest.raises(MezzotintError, match=r"is for cuda.*fuse") as caught:
        add_live_adapters(source.path, [GivenAdapter(path=files["style"])], tmp_path / "out", base=tiny_bundle.path)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_server_lists_them_and_its_jobs_say_how_much(live: Quantized, pipe: TextToImage, tmp_path: Path) -> None:
    (tmp_path / "styled").symlink_to(live("fp32", "portable").path, target_is_directory=True)
    expected = pipe(PROMPT, loras=SCALES, **OPTIONS).images[0]
    loras = [{"name": name, "scale": scale} for name, scale in SCALES.items()]
    with serving(tmp_path, lambda: BundleMaker(str(tmp_path / "styled"), ENGINE)) as server:
        listed = server.client.get("/sdapi/v1/loras").json()
        job = server.done(server.job(prompt=PROMPT, loras=loras, **OPTIONS)["id"])
        content = server.image(job["id"])
    assert [one["name"] for one in listed] == list(SCALES)
    assert job["images"][0]["settings"]["loras"] == SCALES
    np.testing.assert_array_equal(np.asarray(read_image(content)), np.asarray(expected))
