"""Evaluation: what counts as right, against brute force; and that checkpoints and bundles draw the same for it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest  # type: ignore[import-untyped]

from demo.train.artwork.contact_sheet import contact_sheet
from demo.train.artwork.drawing import BundleSubject, CheckpointSubject, Drawn, draw_all, open_subject
from demo.train.artwork.recognition import background_of, rank_by_pixels, rank_by_st_lpips, wilson_interval
from demo.train.captions import parse_caption
from demo.train.config import BACKGROUNDS
from demo.train.evaluate import Evaluation, evaluate
from demo.train.gallery import gallery_of
from demo.train.pictures import Pictures
from demo.train.prompts import choose_prompts
from mezzotint.arrays import FloatArray
from mezzotint.benchmarks.metrics.gallery import compose
from mezzotint.benchmarks.metrics.metric import Generation
from mezzotint.benchmarks.metrics.perceptual_lpips import image_st_lpips
from mezzotint.errors import MezzotintError
from mezzotint.progress import silent
from mezzotint.runtime import Bundle
from tests.demo.small_recipe import CONCEPTS

COLOURS = np.array(list(BACKGROUNDS.values()), dtype=np.float32) / np.float32(255.0)
SIDE = 24


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """32 blots, each unlike any other."""
    rng = np.random.default_rng(0)
    rgba = np.zeros((32, SIDE, SIDE, 4), np.uint8)
    coarse = rng.integers(0, 256, (32, 4, 4, 4), dtype=np.uint8)
    rgba[:, 4:-4, 4:-4] = coarse.repeat(4, axis=1).repeat(4, axis=2)
    rgba[..., :3] = np.minimum(rgba[..., :3], rgba[..., 3:])
    return Pictures(rgba, CONCEPTS * 2, ("flat",) * 16 + ("noto",) * 16)


class Copyist:
    """Draws the training pictures with a little noise; of the concepts in `spoiled`, all black."""

    def __init__(self, pictures: Pictures, spoiled: Sequence[str] = (), kind: str = "copyist") -> None:
        self.description = {"kind": kind}
        self.calls: list[int] = []
        self._pictures = pictures
        self._spoiled = spoiled

    def draw(self, prompts: Sequence[str], how: Drawn, seed: int) -> FloatArray:  # noqa: ARG002 -- as subjects have it
        self.calls.append(seed)
        return np.stack([self._draw(*parse_caption(prompt)) for prompt in prompts])

    def _draw(self, style: str, name: str, background: str) -> FloatArray:
        if name in self._spoiled:
            return np.zeros((SIDE, SIDE, 3), np.float32)
        pairs = zip(self._pictures.concepts, self._pictures.styles, strict=True)
        index = [(concept.name, style) for concept, style in pairs].index((name, style))
        colour = COLOURS[tuple(BACKGROUNDS).index(background)]
        noise = np.random.default_rng(index).normal(0, 0.02, (SIDE, SIDE, 3)).astype(np.float32)
        drawn: FloatArray = np.clip(compose(self._pictures.rgba[index : index + 1], colour)[0] + noise, 0, 1)
        return drawn

    def reconstruct(self, pixels: FloatArray) -> FloatArray:
        return pixels + np.float32(0.1)


def random_pictures(count: int) -> FloatArray:
    return np.random.default_rng(1).random((count, SIDE, SIDE, 3), dtype=np.float32)


def test_the_nearest_pictures_are_those_that_brute_force_finds(pictures: Pictures) -> None:
    drawn, backgrounds = random_pictures(6), [0, 3, 3, 9, 0, 5]
    gallery = gallery_of(pictures)
    by_pixels = rank_by_pixels(drawn, backgrounds, gallery, 4, silent)
    by_st_lpips = rank_by_st_lpips(drawn, backgrounds, gallery, 4, silent)
    for index, background in enumerate(backgrounds):
        references = compose(gallery.rgba, COLOURS[background])
        squared = [float(np.mean((reference - drawn[index]) ** 2)) for reference in references]
        perceptual = [image_st_lpips(Generation(one, None), Generation(drawn[index], None)) for one in references]
        assert by_pixels[index].tolist() == np.argsort(squared)[:4].tolist()
        np.testing.assert_allclose(np.sort(perceptual)[:4], np.array(perceptual)[by_st_lpips[index]], atol=1e-5)


def test_the_background_is_the_colour_of_the_border() -> None:
    for index, colour in enumerate(COLOURS):
        picture = random_pictures(1)[0]
        picture[:2], picture[-2:], picture[:, :2], picture[:, -2:] = (np.clip(colour + 0.03, 0, 1),) * 4
        picture[:2, :8] = 0.5  # something reaches into the border
        assert background_of(picture, COLOURS) == index


@pytest.mark.parametrize(("hits", "count"), [(0, 16), (254, 256), (128, 256), (16, 16)])
def test_the_interval_is_wilsons(hits: int, count: int) -> None:
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_prompts_are_of_different_pictures_of_the_group(pictures: Pictures) -> None:
    prompts = choose_prompts(pictures, "focus", 16, 1)
    assert len({prompt.picture for prompt in prompts}) == 16
    for prompt in prompts:
        concept = pictures.concepts[prompt.picture]
        assert concept.group == "focus"
        expected = (pictures.styles[prompt.picture], concept.name, tuple(BACKGROUNDS)[prompt.background])
        assert parse_caption(prompt.text) == expected
    assert choose_prompts(pictures, "focus", 16, 1) == prompts != choose_prompts(pictures, "focus", 16, 2)
    assert len(choose_prompts(pictures, "all", 32, 1)) == 32
    with pytest.raises(MezzotintError, match="expected 1 to 16"):
        choose_prompts(pictures, "focus", 17, 1)


def test_perfect_pictures_are_all_right(pictures: Pictures, tmp_path: Path) -> None:
    result = evaluate(Copyist(pictures), pictures, Evaluation("all", 32), tmp_path, silent)
    for distance in ("pixels", "st_lpips"):
        shares = {name: figure["share"] for name, figure in result["summary"][distance].items()}
        assert shares == {"top1_concept": 1.0, "top5_concept": 1.0, "top1_concept_and_style": 1.0}
    assert result["summary"]["background"]["share"] == 1.0
    assert result["summary"]["autoencoder"] == {"psnr_db_mean": 20.0, "psnr_db_min": 20.0}
    assert json.loads((tmp_path / "evaluation.json").read_text()) == result
    with Image.open(tmp_path / "contact-sheet.png") as sheet:
        assert sheet.size == (16 * (SIDE + 6), 2 * (SIDE + 6))


def test_spoiled_pictures_are_counted(pictures: Pictures, tmp_path: Path) -> None:
    spoiled = [concept.name for concept in CONCEPTS[:4]]
    result = evaluate(Copyist(pictures, spoiled), pictures, Evaluation("all", 32), tmp_path, silent)
    right = [row["pixels"][0] == row["concept"] for row in result["pictures"]]
    asked = [row["concept"] in {concept.icon for concept in CONCEPTS[:4]} for row in result["pictures"]]
    assert sum(asked) == 8
    assert all(right[index] for index, bad in enumerate(asked) if not bad)
    figure = result["summary"]["pixels"]["top1_concept"]
    assert figure["hits"] == sum(right) < 32
    assert figure["share"] == pytest.approx(sum(right) / 32, abs=1e-4)
    black = [row["background_drawn"] == "black" for row in result["pictures"]]
    assert all(black[index] for index, bad in enumerate(asked) if bad)


def test_pictures_drawn_before_are_not_drawn_again(pictures: Pictures, tmp_path: Path) -> None:
    texts = [prompt.text for prompt in choose_prompts(pictures, "all", 10, 1)]
    how, folder = Drawn(batch=4, seed=50), tmp_path / "drawn"
    copyist = Copyist(pictures)
    first = draw_all(copyist, texts, how, folder, silent)
    assert copyist.calls == [50, 54, 58]
    (folder / "0004.npy").unlink()
    np.testing.assert_array_equal(draw_all(copyist, texts, how, folder, silent), first)
    assert copyist.calls == [50, 54, 58, 54]
    other = Copyist(pictures, kind="another")
    draw_all(other, texts, how, folder, silent)
    assert len(other.calls) == 3


def test_wrong_pictures_have_a_red_frame() -> None:
    sheet = np.asarray(contact_sheet(np.full((3, 4, 4, 3), 0.5, np.float32), [True, False, True], columns=2))
    assert sheet.shape == (20, 20, 3)
    assert sheet[0, 0].tolist() == [255, 255, 255]
    assert sheet[0, 10].tolist() == [220, 0, 0]
    assert sheet[3, 13].tolist() == [128, 128, 128]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_bundle_draws_and_reconstructs_what_its_checkpoint_does(tiny_checkpoint: Path, tiny_bundle: Bundle) -> None:
    checkpoint, bundle = open_subject(tiny_checkpoint), open_subject(tiny_bundle.path, "onnxruntime")
    assert isinstance(checkpoint, CheckpointSubject)
    assert isinstance(bundle, BundleSubject)
    assert checkpoint.description["weights_sha256"] == bundle.description["weights_sha256"]
    how = Drawn(steps=3)
    prompts = ["flat style red apple, blue background", "noto style owl, pink background", "a hat"]
    np.testing.assert_allclose(checkpoint.draw(prompts, how, 7), bundle.draw(prompts, how, 7), atol=2e-3)
    np.testing.assert_allclose(bundle.draw(prompts, how, 7)[1:], bundle.draw(prompts[1:], how, 8), atol=2e-3)
    pixels = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    np.testing.assert_allclose(checkpoint.reconstruct(pixels), bundle.reconstruct(pixels), atol=2e-3)
