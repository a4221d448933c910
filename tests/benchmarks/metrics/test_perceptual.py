"""Metrics that look through networks: against the wheel's own code, other libraries and definitions, on small nets."""

import importlib
import importlib.util
import itertools
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mezzotint.arrays import Array
from mezzotint.benchmarks.metrics.fidelity import METRICS, score_record
from mezzotint.benchmarks.metrics.metric import Generation, NotComputedError
from mezzotint.benchmarks.metrics.perceptual_clip import image_clip_score_change
from mezzotint.benchmarks.metrics.perceptual_inception import frechet_distance, kernel_distance, set_fid, set_kid
from mezzotint.benchmarks.metrics.perceptual_lpips import (
    ALEXNET_FILE,
    HEADS_FILE,
    image_lpips,
    image_st_lpips,
    st_lpips_embeddings,
)
from tests.benchmarks.synthetic import PROMPTS, record

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # KID's network is published as such

needs_st_lpips = pytest.mark.skipif(
    importlib.util.find_spec("stlpips_pytorch") is None, reason="stlpips-pytorch is not installed"
)


def generation(seed: int, height: int = 64, width: int = 80, prompt: str = "") -> Generation:
    pixels = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    return Generation(pixels, np.zeros((4, 2, 2), np.float32), prompt=prompt)


def tensor(one: Generation) -> torch.Tensor:
    return torch.from_numpy(one.pixels).permute(2, 0, 1)[None]


@pytest.fixture
def st_lpips_of_the_wheel(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The wheel's own network. It imports, without declaring or using them here, what is stubbed."""
    for name in ("IPython", "torchsummary", "torchvision"):
        stub = types.ModuleType(name)
        stub.embed = stub.summary = stub.models = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stub)
    stlpips = importlib.import_module("stlpips_pytorch.stlpips")
    network: nn.Module = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    for name in [name for name in sys.modules if name.startswith("stlpips_pytorch")]:
        del sys.modules[name]  # for good: a later test asks whether we import them
    return network


@needs_st_lpips
@pytest.mark.parametrize("shape", [(64, 64), (65, 96)])
def test_st_lpips_is_the_wheels(st_lpips_of_the_wheel: nn.Module, shape: tuple[int, int]) -> None:
    reference, test = generation(1, *shape), generation(2, *shape)
    with torch.inference_mode():
        expected = float(st_lpips_of_the_wheel(tensor(reference), tensor(test), normalize=True))
    assert image_st_lpips(reference, test) == pytest.approx(expected, abs=1e-5)
    assert image_st_lpips(reference, reference) == 0.0


@needs_st_lpips
def test_squared_distances_of_embeddings_are_st_lpips() -> None:
    generations = [generation(seed, 48, 40) for seed in range(4)]
    embeddings = st_lpips_embeddings(np.stack([one.pixels for one in generations])).astype(np.float64)
    for left, right in itertools.combinations(range(4), 2):
        squared = np.square(embeddings[left] - embeddings[right]).sum()
        assert squared == pytest.approx(image_st_lpips(generations[left], generations[right]), rel=1e-4)


@needs_st_lpips
def test_st_lpips_of_a_tiny_image_is_not_computed() -> None:
    image_st_lpips(generation(1, 21), generation(2, 21))
    with pytest.raises(NotComputedError, match="80x20 image is smaller than 21"):
        image_st_lpips(generation(1, 20), generation(2, 20))


@needs_st_lpips
def test_st_lpips_runs_none_of_the_wheels_code() -> None:
    image_st_lpips(generation(1), generation(2))
    assert not [name for name in sys.modules if name.startswith("stlpips_pytorch")]


def alexnet() -> nn.Sequential:
    """AlexNet's feature layers as torchvision numbers them, with seeded random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip


def test_lpips_is_what_its_paper_defines(tmp_path: Path) -> None:
    network = alexnet()
    heads = {
        f"lin{index}.model.1.weight": torch.rand(1, channels, 1, 1, generator=torch.Generator().manual_seed(index))
        for index, channels in enumerate((64, 192, 384, 256, 256))
    }
    torch.save({f"features.{name}": value for name, value in network.state_dict().items()}, tmp_path / ALEXNET_FILE)
    torch.save(heads, tmp_path / HEADS_FILE)
    reference, test = generation(1), generation(2)

    def layers(one: Generation) -> list[Array]:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x, found = (tensor(one) * 2 - 1 - shift[:, None, None]) / scale[:, None, None], []
        with torch.inference_mode():
            for layer in network:
                x = layer(x)
                found += [x[0].double().numpy()] if isinstance(layer, nn.ReLU) else []
        return [values / np.sqrt((values**2).sum(axis=0)) for values in found]

    expected = sum(
        ((wanted - got) ** 2 * head.double().numpy()[0]).sum(axis=0).mean()
        for wanted, got, head in zip(layers(reference), layers(test), heads.values(), strict=True)
    )
    assert image_lpips(reference, test, tmp_path) == pytest.approx(expected, rel=1e-4)
    image_lpips(generation(1, 31), generation(2, 31), tmp_path)
    with pytest.raises(NotComputedError, match="smaller than 31"):
        image_lpips(generation(1, 30), generation(2, 30), tmp_path)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Path:
    """The smallest CLIP, with seeded random weights and the embedded checkpoint's tokenizer."""
    import shutil

    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    folder = tmp_path_factory.mktemp("weights") / "clip"
    shutil.copytree(demo_checkpoint / "tokenizer", folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 4094, "eos_token_id": 4095, "pad_token_id": 4095}
    text = CLIPTextConfig(vocab_size=4096, max_position_embeddings=32, projection_dim=8, **small, **ends)
    vision = CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=8, **small)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
        CLIPModel(config).save_pretrained(folder)
    return folder


def test_clip_scores_are_compared_with_the_references(clip_folder: Path) -> None:
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokens = CLIPTokenizer.from_pretrained(clip_folder)("a red apple", return_tensors="pt")
    scores = []
    for one in (generation(1), generation(2)):
        image = Image.fromarray(np.rint(one.pixels * 255).astype(np.uint8))
        with torch.inference_mode():
            output = model(**processor(image, return_tensors="pt"), **tokens)
        scores.append(max(100 * float((output.image_embeds * output.text_embeds).sum()), 0.0))
    reference, test = generation(1, prompt="a red apple"), generation(2, prompt="a red apple")
    assert image_clip_score_change(reference, test, clip_folder) == pytest.approx(scores[1] - scores[0], abs=1e-3)
    assert image_clip_score_change(reference, reference, clip_folder) == 0.0


class _Means(nn.Module):
    """Stands in for Inception: the features are the means of a one's channels, and of its upper half's."""

    def forward(self, images: torch.Tensor, return_features: bool) -> torch.Tensor:
        assert return_features
        values = images.to(torch.float32)
        return torch.cat([values.mean(dim=(2, 3)), values[:, :, : values.shape[2] // 2].mean(dim=(2, 3))], dim=1)


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pt"
    torch.jit.script(_Means()).save(str(path))  # type: ignore[no-untyped-call]
    return path


def test_kid_is_the_mean_over_pairs() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random((7, 5)), generator.random((6, 5)) + 0.1

    def kernel(x: Array, y: Array) -> float:
        return float((x @ y / 5 + 1) ** 3)

    def inside(rows: Array) -> float:
        return float(np.mean([kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]))

    between = np.mean([kernel(a, b) for a in first for b in second])
    assert kernel_distance(first, second) == pytest.approx(inside(first) + inside(second) - 2 * between, rel=1e-9)


def test_fid_of_independent_features_is_known_in_closed_form() -> None:
    first = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    second = 3.0 * first + [1.0, 2.0]
    variances = np.var(first, axis=0, ddof=1)
    expected = 1.0 + 4.0 + float(((3.0 - 1.0) ** 2 * variances).sum())
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_sets_are_compared_through_the_network(inception: Path) -> None:
    references, tests = [generation(seed) for seed in range(6)], [generation(seed) for seed in range(9, 15)]
    features = [
        np.stack([_Means()((tensor(one) * 255).round(), True)[0].double().numpy() for one in images])
        for images in (references, tests)
    ]
    assert set_kid(references, tests, inception) == pytest.approx(kernel_distance(*features), rel=1e-6)
    with pytest.raises(NotComputedError, match="6 images are fewer than the 2048"):
        set_fid(references, tests, inception)


def test_without_weights_figures_are_null_with_the_reason(tmp_path: Path) -> None:
    for weights in (None, tmp_path):
        scores = score_record(record(0.0), record(0.1), 5.0, prompts=PROMPTS, weights=weights)
        for metric in (metric for metric in METRICS if metric.weights is not None):
            assert scores[metric.name]["median"] is None
            assert scores[metric.name]["reasons"]["median"] == "weights absent"


def test_weights_that_are_pointers_are_the_reason(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    pointer = b"version https://git-lfs.github.com/spec/v1\nsize 605\n"
    for name in ("clip/model.safetensors", "inception.pt"):
        (tmp_path / name).write_bytes(pointer)
    scores = score_record(record(0.0), record(0.1), 5.0, prompts=PROMPTS, weights=tmp_path)
    for name in ("kid", next(metric.name for metric in METRICS if metric.weights == "clip")):
        assert "git-lfs pointer" in scores[name]["reasons"]["median"]


def test_with_weights_there_are_figures(inception: Path, tmp_path: Path) -> None:
    (tmp_path / "inception.pt").symlink_to(inception)
    score = score_record(record(0.0), record(0.1), 5.0, prompts=PROMPTS, weights=tmp_path)["kid"]
    assert score["median"] is not None
    assert math.isfinite(score["median"])
    assert (score["per_prompt"], score["ci95"]) == (None, None)
    assert score["reasons"]["ci95"] == "one figure for the whole set"
