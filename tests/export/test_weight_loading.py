"""Weights in every layout that people have become the module that diffusers or transformers makes of them."""

import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mezzotint.errors import MezzotintError
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.files.loaded_checkpoint import Checkpoint
from mezzotint.families.source_hash import weights_sha256

Tensors = dict[str, torch.Tensor]
KINDS = {
    "text_encoder": transformers.CLIPTextModel,
    "unet": diffusers.UNet2DConditionModel,
    "vae": diffusers.AutoencoderKL,
}
STEMS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
PARTS = tuple(KINDS)


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def plain(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_checkpoint))


def weights_of(folder: Path, part: str) -> Path:
    return folder / part / f"{STEMS[part]}.safetensors"


def rename(path: Path, change: Callable[[str], str]) -> None:
    save_file({change(name): tensor for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


def assert_same(got: Any, expected: Any) -> None:
    """Every weight and buffer in FP32 and equal, under the same names in the same order."""
    for theirs, ours in ((expected.state_dict(), got.state_dict()), (expected.named_buffers(), got.named_buffers())):
        pairs = list(dict(theirs).items()), list(dict(ours).items())
        assert [name for name, _ in pairs[0]] == [name for name, _ in pairs[1]]
        for (name, one), (_, other) in zip(*pairs, strict=True):
            assert other.dtype == (torch.float32 if one.is_floating_point() else one.dtype), name
            torch.testing.assert_close(other, one.to(other.dtype), rtol=0, atol=0)
    assert not got.training


def theirs(folder: Path, part: str, **options: Any) -> Any:
    return KINDS[part].from_pretrained(folder / part, local_files_only=True, **options)


@pytest.mark.parametrize("part", PARTS)
def test_a_module_is_what_the_library_loads(part: str, plain: Checkpoint, tiny_checkpoint: Path) -> None:
    assert_same(plain.modules[part], theirs(tiny_checkpoint, part))
    assert plain.source.variants == {}


def add_variant(folder: Path, variant: str, factor: float, **options: Any) -> None:
    """Other weights beside those that are there, written by the library itself."""
    for part in PARTS:
        module = theirs(folder, part)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(factor)
        module.half().save_pretrained(folder / part, variant=variant, **options)


class TestVariants:
    """Each layout as `save_pretrained` writes it."""

    def test_halved_weights_alone(self, copy: Path) -> None:
        add_variant(copy, "fp16", 1.0)
        for part in PARTS:
            weights_of(copy, part).unlink()
        loaded = load_checkpoint(str(copy))
        assert loaded.source.variants == dict.fromkeys(PARTS, "fp16")
        for part in PARTS:
            assert_same(loaded.modules[part], theirs(copy, part, variant="fp16"))

    def test_side_by_side(self, copy: Path, plain: Checkpoint) -> None:
        add_variant(copy, "fp16", 2.0)
        unasked = load_checkpoint(str(copy))
        assert unasked.source.sha256 == plain.source.sha256  # of the files that were read
        assert unasked.source.variants == {}
        assert_same(unasked.modules["unet"], plain.modules["unet"])
        asked = load_checkpoint(str(copy), "fp16")
        assert asked.source.variants == dict.fromkeys(PARTS, "fp16")
        assert asked.source.sha256 == weights_sha256(copy, "fp16") != plain.source.sha256
        assert_same(asked.modules["unet"], theirs(copy, "unet", variant="fp16"))

    def test_one_component_alone_has_the_variant(self, copy: Path, plain: Checkpoint) -> None:
        path = weights_of(copy, "unet")
        other = path.with_name(f"{STEMS['unet']}.non_ema.safetensors")
        save_file({name: tensor * 2 for name, tensor in load_file(path).items()}, other, metadata={"format": "pt"})
        assert_same(load_checkpoint(str(copy)).modules["unet"], plain.modules["unet"])
        loaded = load_checkpoint(str(copy), "non_ema")
        assert loaded.source.variants == {"unet": "non_ema"}
        assert_same(loaded.modules["unet"], theirs(copy, "unet", variant="non_ema"))
        assert_same(loaded.modules["vae"], plain.modules["vae"])

    def test_shards_of_a_variant(self, copy: Path) -> None:
        add_variant(copy, "fp16", 2.0, max_shard_size="30KB")
        for part in PARTS:
            index = f"{STEMS[part]}.safetensors.index.fp16.json"
            assert (copy / part / index).is_file()
            assert_same(load_checkpoint(str(copy), "fp16").modules[part], theirs(copy, part, variant="fp16"))

    def test_pickles(self, copy: Path, plain: Checkpoint) -> None:
        for part in PARTS:
            weights_of(copy, part).unlink()
            plain.modules[part].save_pretrained(copy / part, safe_serialization=False)
        loaded = load_checkpoint(str(copy))
        for part in PARTS:
            assert_same(loaded.modules[part], plain.modules[part])
        assert loaded.source.sha256 != plain.source.sha256

    def test_old_pickles(self, copy: Path, plain: Checkpoint) -> None:
        """Of torch before 1.6, which are no zip archives."""
        path = weights_of(copy, "unet")
        torch.save(load_file(path), path.with_name(f"{STEMS['unet']}.bin"), _use_new_zipfile_serialization=False)
        path.unlink()
        assert_same(load_checkpoint(str(copy)).modules["unet"], plain.modules["unet"])


class TestNames:
    """Names as the wrappers themselves give them, and as other versions have them."""

    @pytest.mark.parametrize("part", PARTS)
    def test_wrapped_modules(self, part: str, copy: Path, plain: Checkpoint) -> None:
        module = plain.modules[part]
        compiled: Any = torch.compile(deepcopy(module), backend="eager")
        state = torch.nn.DataParallel(compiled).state_dict()
        assert all(name.startswith("module._orig_mod.") for name in state)
        save_file(state, weights_of(copy, part), metadata={"format": "pt"})
        assert_same(load_checkpoint(str(copy)).modules[part], module)

    def test_a_compiled_part_of_a_module(self, copy: Path, plain: Checkpoint) -> None:
        rename(weights_of(copy, "unet"), lambda name: name.replace("mid_block.", "mid_block._orig_mod."))
        assert_same(load_checkpoint(str(copy)).modules["unet"], plain.modules["unet"])

    @pytest.mark.parametrize("prefix", ["", "text_model.", "model.text_model.", "encoder."])
    def test_the_prefix_of_text_encoders(self, prefix: str, copy: Path, plain: Checkpoint) -> None:
        """None since transformers 5.6."""
        rename(weights_of(copy, "text_encoder"), lambda name: prefix + name.removeprefix("text_model."))
        assert_same(load_checkpoint(str(copy)).modules["text_encoder"], plain.modules["text_encoder"])

    def test_names_of_old_versions(self, copy: Path) -> None:
        """Attention of diffusers before 0.13, and the constant that transformers saved before 4.31."""
        old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}

        def rename_attention(name: str) -> str:
            for new, before in old.items():
                name = name.replace(f"attentions.0.{new}", f"attentions.0.{before}")
            return name

        rename(weights_of(copy, "vae"), rename_attention)
        path = weights_of(copy, "text_encoder")
        positions = {"text_model.embeddings.position_ids": torch.arange(32).unsqueeze(0)}
        save_file(load_file(path) | positions, path, metadata={"format": "pt"})
        loaded = load_checkpoint(str(copy))
        assert any(".query." in name for name in load_file(weights_of(copy, "vae")))
        for part in ("vae", "text_encoder"):
            assert_same(loaded.modules[part], theirs(copy, part))

    def test_a_prefix_before_some_names_is_named(self, copy: Path) -> None:
        rename(weights_of(copy, "unet"), lambda name: f"net.{name}" if name.startswith("conv_in") else name)
        with pytest.raises(MezzotintError, match=r"2 missing weights, the first is conv_in.*prefix 'net\.'"):
            load_checkpoint(str(copy))

    def test_adapters_are_to_be_merged(self, copy: Path) -> None:
        path = weights_of(copy, "unet")
        name = next(name for name in load_file(path) if name.endswith("to_q.weight"))
        adapter = {name.replace(".weight", ".lora_A.default.weight"): torch.zeros(4, 32)}
        save_file(load_file(path) | adapter, path, metadata={"format": "pt"})
        with pytest.raises(MezzotintError, match="LoRA"):
            load_checkpoint(str(copy))


def swap(folder: Path, part: str, content: object) -> Path:
    """A pickle of `content` instead of a part's weights."""
    weights_of(folder, part).unlink()
    name = "pytorch_model.bin" if part == "text_encoder" else f"{STEMS[part]}.bin"
    torch.save(content, folder / part / name)
    return folder / part / name


class Code:
    """What a pickle would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("part", PARTS)
def test_code_in_a_pickle_is_not_run(part: str, copy: Path, tmp_path: Path) -> None:
    path = swap(copy, part, {"weight": Code(tmp_path / "ran")})
    with pytest.raises(MezzotintError, match=r"holds more than tensors \(posix\.mkdir\)") as error:
        load_checkpoint(str(copy))
    assert str(error.value).startswith(str(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"a": torch.ones(1)}}, {"step": 3}, torch.ones(2)])
def test_pickles_of_something_else(content: object, copy: Path) -> None:
    swap(copy, "unet", content)
    with pytest.raises(MezzotintError, match="expected tensors by their names"):
        load_checkpoint(str(copy))


def test_a_pickle_that_was_cut(copy: Path) -> None:
    for is_zip in (True, False):
        path = copy / "unet" / f"{STEMS['unet']}.bin"
        torch.save(theirs(copy, "unet").state_dict(), path, _use_new_zipfile_serialization=is_zip)
        path.write_bytes(path.read_bytes()[:-5000])
    weights_of(copy, "unet").unlink()
    with pytest.raises(MezzotintError, match=f"^{path} .*; download it again$"):
        load_checkpoint(str(copy))


def test_weights_that_were_quantized_are_refused(copy: Path) -> None:
    path = weights_of(copy, "unet")
    save_file({name: tensor.to(torch.int8) for name, tensor in load_file(path).items()}, path)
    with pytest.raises(MezzotintError, match=r"is of torch\.int8, expected floats"):
        load_checkpoint(str(copy))
