"""Which weight files are read: against diffusers' own choice from the same listing, and on layouts as published."""

import json
from pathlib import Path

import pytest

from mezzotint.bundle.weight_files import COMPONENTS, choose_weights, weight_paths
from mezzotint.errors import MezzotintError

UNET = "diffusion_pytorch_model"


def _listing(**files: str) -> list[str]:
    return [f"{component}/{name}" for component, names in files.items() for name in names.split()]


PLAIN_BIN = _listing(text_encoder="pytorch_model.bin", unet=f"{UNET}.bin", vae=f"{UNET}.bin")
_SD_1_5 = _listing(
    text_encoder="config.json model.fp16.safetensors model.safetensors pytorch_model.bin pytorch_model.fp16.bin",
    unet=f"config.json {UNET}.bin {UNET}.fp16.bin {UNET}.fp16.safetensors {UNET}.non_ema.bin "
    f"{UNET}.non_ema.safetensors {UNET}.safetensors",
    vae=f"config.json {UNET}.bin {UNET}.fp16.bin {UNET}.fp16.safetensors {UNET}.safetensors",
    safety_checker="model.fp16.safetensors pytorch_model.bin",
    tokenizer="vocab.json merges.txt",
)
SD_1_5 = [*_SD_1_5, "model_index.json", "v1-5-pruned.safetensors", "v1-5-pruned.ckpt"]  # as it lies on the hub
MIXED = _listing(  # as oscavatar: a VAE was added as safetensors later
    text_encoder="pytorch_model.bin", unet=f"{UNET}.bin", vae=f"{UNET}.bin {UNET}.safetensors"
)
OTHER_ENGINES = _listing(  # as SDXL base: other engines' files end in .bin and .msgpack as well
    text_encoder="flax_model.msgpack model.fp16.safetensors model.safetensors openvino_model.bin model.onnx",
    unet=f"diffusion_flax_model.msgpack {UNET}.fp16.safetensors {UNET}.safetensors openvino_model.bin optimizer.bin",
    vae=f"{UNET}.fp16.safetensors {UNET}.safetensors",
    vae_1_0=f"{UNET}.safetensors",
)
SHARDED = _listing(  # as FLUX.1-schnell lies there, and as SD 3's text encoder names its variant's index
    text_encoder="model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json "
    "model.fp16-00001-of-00002.safetensors model.fp16-00002-of-00002.safetensors model.safetensors.index.fp16.json",
    unet=f"{UNET}-00001-of-00002.safetensors {UNET}-00002-of-00002.safetensors {UNET}.safetensors.index.json "
    f"{UNET}.fp16-00001-of-00002.safetensors {UNET}.fp16-00002-of-00002.safetensors "
    f"{UNET}.safetensors.index.fp16.json",
    vae=f"{UNET}.fp16.safetensors {UNET}.safetensors",
)
FP16_ALONE = [name for name in SD_1_5 if ".fp16." in name]


def chosen(names: list[str], variant: str | None = None) -> list[str]:
    found = choose_weights("here", names, variant)
    assert tuple(found) == COMPONENTS
    return [f"{component}/{weights.name}" for component, weights in found.items()]


@pytest.mark.parametrize("variant", [None, "fp16", "non_ema"])
@pytest.mark.parametrize("names", [PLAIN_BIN, SD_1_5, MIXED, OTHER_ENGINES, SHARDED], ids=str)
def test_the_choice_is_what_diffusers_would_download(names: list[str], variant: str | None) -> None:
    """diffusers keeps several formats of one variant; what its loaders read of them is safetensors first."""
    from diffusers.pipelines.pipeline_loading_utils import variant_compatible_siblings

    try:
        with_variant, usable = variant_compatible_siblings(names, variant)
    except ValueError:
        with pytest.raises(MezzotintError, match="has no weights of the variant"):
            chosen(names, variant)
        return
    theirs = sorted(set(with_variant) | set(usable))
    taken = chosen(names, variant)
    assert set(taken) <= set(theirs)
    for component, name in zip(COMPONENTS, taken, strict=True):
        readable = [one for one in theirs if one.startswith(f"{component}/") and ".safetensors" in one]
        assert not readable or ".safetensors" in name


def test_a_variant_that_is_alone_is_taken() -> None:
    assert chosen(FP16_ALONE) == [
        "text_encoder/model.fp16.safetensors",
        f"unet/{UNET}.fp16.safetensors",
        f"vae/{UNET}.fp16.safetensors",
    ]
    assert {one.variant for one in choose_weights("here", FP16_ALONE).values()} == {"fp16"}


def test_plain_weights_come_before_halved_ones_whatever_the_format() -> None:
    names = PLAIN_BIN + FP16_ALONE
    assert chosen(names) == PLAIN_BIN


def test_a_component_without_the_variant_gives_its_plain_weights() -> None:
    variants = {name: one.variant for name, one in choose_weights("here", SD_1_5, "non_ema").items()}
    assert variants == {"text_encoder": "", "unet": "non_ema", "vae": ""}


def test_a_variant_that_nobody_has_lists_those_that_there_are() -> None:
    with pytest.raises(MezzotintError, match=r"'bf16'; .* unet: plain, fp16, non_ema; vae: plain, fp16"):
        choose_weights("here", SD_1_5, "bf16")


@pytest.mark.parametrize("variants", [("non_ema",), ("bf16", "fp16")])
def test_a_choice_that_is_open_is_left_to_the_user(variants: tuple[str, ...]) -> None:
    names = [name for name in SD_1_5 if not name.startswith("unet/")]
    names += [f"unet/{UNET}.{variant}.safetensors" for variant in variants]
    with pytest.raises(MezzotintError, match=f"unet has the weights {', '.join(variants)} .*--variant"):
        choose_weights("here", names)
    assert choose_weights("here", names, variants[0])["unet"].variant == variants[0]


def test_non_ema_weights_are_no_choice_without_a_request() -> None:
    names = [*FP16_ALONE, f"unet/{UNET}.non_ema.safetensors"]
    assert choose_weights("here", names)["unet"].variant == "fp16"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("", "got none"),
        ("diffusion_flax_model.msgpack", "Flax"),
        (f"{UNET}-00001-of-00002.safetensors", f"{UNET}.safetensors.index.json is lost"),
        ("openvino_model.bin", "got openvino_model.bin"),
        (f"model.safetensors {UNET}.ckpt", "model.safetensors"),
    ],
)
def test_what_lies_there_instead_of_weights_is_named(files: str, said: str) -> None:
    names = [name for name in SD_1_5 if not name.startswith("unet/")] + _listing(unet=files)
    with pytest.raises(MezzotintError, match=f"here/unet has no weights: expected {UNET}.safetensors.*{said}"):
        choose_weights("here", names)


@pytest.mark.parametrize(
    ("index", "variant"),
    [
        (f"{UNET}.safetensors.index.json", ""),
        (f"{UNET}.safetensors.index.fp16.json", "fp16"),
        (f"{UNET}.safetensors.fp16.index.json", "fp16"),  # diffusers before 0.28
        (f"{UNET}.bin.index.json", ""),
    ],
)
def test_indexes_of_shards(index: str, variant: str, tmp_path: Path) -> None:
    shards = [f"{UNET}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    names = [name for name in SD_1_5 if not name.startswith("unet/")] + _listing(unet=" ".join([index, *shards]))
    weights = choose_weights("here", names, variant or None)["unet"]
    assert (weights.name, weights.variant) == (index, variant)
    (tmp_path / "unet").mkdir()
    for name in shards:
        (tmp_path / "unet" / name).touch()
    text = json.dumps({"metadata": {}, "weight_map": {"b": shards[1], "a": shards[0], "c": shards[1]}})
    (tmp_path / "unet" / index).write_text(text, encoding="utf-8")
    assert weight_paths(tmp_path, weights) == tuple(tmp_path / "unet" / name for name in shards)
    (tmp_path / "unet" / shards[1]).unlink()
    with pytest.raises(MezzotintError, match=f"unet lacks {shards[1]}"):
        weight_paths(tmp_path, weights)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}',
             '{"weight_map": {"a": "../../secret.safetensors"}}', '{"weight_map": {"a": "C:\\\\x.safetensors"}}']
)  # fmt: skip
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    index = f"{UNET}.safetensors.index.json"
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / index).write_text(text, encoding="utf-8")
    names = [name for name in SD_1_5 if not name.startswith("unet/")] + [f"unet/{index}"]
    with pytest.raises(MezzotintError, match="index"):
        weight_paths(tmp_path, choose_weights("here", names)["unet"])
