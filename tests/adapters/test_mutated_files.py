"""Adapter files with bytes changed, cut out, doubled or lied about: one sentence each, or an adapter that works."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mezzotint.adapters.branch import branch_of
from mezzotint.adapters.embedding import GivenEmbedding, read_embedding
from mezzotint.adapters.fit import fit_adapter
from mezzotint.errors import MezzotintError
from tests.adapters.made import FORMS, kohya, make, save

SHAPES: dict[str, tuple[int, ...]] = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (16, 16),
    "down_blocks.0.resnets.0.conv1": (8, 8, 3, 3),
}
PARAMETERS = {"unet": {f"{name}.weight": shape for name, shape in SHAPES.items()}}
DIMS = (0, 1, 2, 3, 4, 7, 8, 16, 72, 144, 1 << 31, 1 << 62)


def sources(folder: Path) -> list[bytes]:
    paths = [save(folder / f"{form}.safetensors", make(form, SHAPES), kohya("lora_unet_")) for form in FORMS]
    pickled = {
        f"lora_unet_{n.replace('.', '_')}.{k}": t
        for n, one in make("lora", SHAPES).items()
        for k, t in one.factors.items()
    }
    torch.save(pickled, folder / "one.pt")
    torch.save({"string_to_param": {"*": torch.ones(2, 8)}, "name": "x"}, folder / "word.pt")
    save_file({"clip_l": torch.ones(2, 8), "clip_g": torch.ones(2, 9)}, folder / "pair.safetensors")
    return [path.read_bytes() for path in (*paths, *(folder / n for n in ("one.pt", "word.pt", "pair.safetensors")))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 12)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def in_the_header(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(min(400, len(changed)))] = rng.choice(b'0123456789"{}[],:._abAB\x00\xff')
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def doubled(content: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:end] + content[start:end] + content[end:]


def reshaped(content: bytes, rng: random.Random) -> bytes:
    """A table that is whole, and lies about shapes, types and names; of a pickle some bytes."""
    if content[8:9] != b"{":
        return flipped(content, rng)
    length = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + length])
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(sorted(table))
        entry = table[name]
        what = rng.randrange(4)
        if what == 0 and entry.get("shape"):
            entry["shape"][rng.randrange(len(entry["shape"]))] = rng.choice(DIMS)
        elif what == 1 and "shape" in entry:
            entry["shape"] = [rng.choice(DIMS) for _ in range(rng.randint(0, 5))]
        elif what == 2 and "dtype" in entry:
            entry["dtype"] = rng.choice(["F16", "BF16", "F64", "I32", "F8_E4M3", "BOOL", "Q4"])
        else:
            other = name.rpartition(".")[0] + rng.choice([".alpha", ".lora_mid.weight", ".dora_scale", ".diff", ".x"])
            table[other] = table.pop(name)
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, in_the_header, cut, doubled, reshaped)


def outcomes(folder: Path, count: int) -> Iterator[str]:
    """What becomes of each: "" for an adapter that works, else the sentence."""
    originals, rng = sources(folder), random.Random(0)
    path = folder / "mutated"
    for index in range(count):
        path.write_bytes(MUTATIONS[index % len(MUTATIONS)](rng.choice(originals), rng))
        for use in (use_adapter, use_embedding):
            try:
                use(path)
                yield ""
            except MezzotintError as error:
                assert error.exit_code == 2
                yield str(error)


def use_adapter(path: Path) -> None:
    for change in fit_adapter(path, PARAMETERS, "stable-diffusion").changes.values():
        if change.changes_weight:
            merged = change.merged(np.ones(change.shape, dtype=np.float32), 0.5)
            assert merged.shape == change.shape
            assert np.isfinite(merged).all()
        if not change.is_decomposed:
            branch_of(change, 4)


def use_embedding(path: Path) -> None:
    assert np.isfinite(next(iter(read_embedding(GivenEmbedding(path=path)).vectors.values()))).all()


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_each_is_one_sentence(count: int, tmp_path: Path) -> None:
    found = list(outcomes(tmp_path, count))
    refused = [sentence for sentence in found if sentence]
    assert len(found) == 2 * count
    assert len(refused) > count
    assert [
        sentence for sentence in refused if "\n" in sentence or len(sentence) > 1500 or "mutated" not in sentence
    ] == []
