from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import FloatArray
from mezzotint.benchmarks.metrics.fidelity import score_record
from mezzotint.benchmarks.metrics.gallery import (
    Gallery,
    compose,
    nearest,
    read_gallery,
    set_top1_concept,
    write_gallery,
)
from mezzotint.benchmarks.metrics.metric import Generation, NotComputedError
from mezzotint.benchmarks.report.summary import summary_table
from tests.benchmarks.synthetic import PROMPTS, record, results

COLOURS = np.array([[1.0, 1.0, 1.0], [0.2, 0.4, 0.8]], dtype=np.float32)


def gallery(side: int = 24) -> Gallery:
    """Two images of each of three things, on two backgrounds, and what PROMPTS ask for."""
    rgba = np.random.default_rng(0).integers(0, 256, (6, side, side, 4), dtype=np.uint8)
    rgba[..., :3] = np.minimum(rgba[..., :3], rgba[..., 3:])
    labels = ("apple", "apple", "cat", "cat", "hen", "hen")
    asked = zip(PROMPTS, [("apple", 0), ("cat", 1), ("hen", 0), ("cat", 0), ("apple", 1)], strict=True)
    return Gallery(rgba, labels, COLOURS, dict(asked))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_gallery(gallery(), tmp_path / "gallery.npz")
    return tmp_path / "gallery.npz"


def generation(prompt: str, image: int, background: int, noise: float = 0.1) -> Generation:
    clean = compose(gallery().rgba[image : image + 1], COLOURS[background])[0]
    errors: FloatArray = np.random.default_rng(image).normal(0.0, noise, clean.shape).astype(np.float32)
    return Generation(clean + errors, None, prompt=prompt)


def test_compose_is_the_over_operator() -> None:
    rgba = np.array([[[[100, 50, 0, 100]]], [[[0, 0, 0, 0]]]], dtype=np.uint8)  # (2, 1, 1, 4)
    over = compose(rgba, COLOURS[1])
    expected = np.array([100, 50, 0]) / 255 + (1 - 100 / 255) * COLOURS[1]
    np.testing.assert_allclose(over[0, 0, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(over[1, 0, 0], COLOURS[1])
    np.testing.assert_array_equal(compose(rgba, COLOURS)[1, 0, 0], COLOURS[1])


def test_nearest_is_by_squared_distance() -> None:
    images = np.random.default_rng(1).random((9, 4, 5, 3), dtype=np.float32)
    pixels = np.random.default_rng(2).random((4, 5, 3), dtype=np.float32)
    distances = [float(((image - pixels) ** 2).mean()) for image in images]
    assert nearest(pixels, images, 5).tolist() == np.argsort(distances)[:5].tolist()


def test_either_image_of_the_wanted_thing_is_right_and_another_thing_is_wrong(path: Path) -> None:
    right = [generation(PROMPTS[0], 0, 0), generation(PROMPTS[1], 3, 1), generation(PROMPTS[3], 2, 0)]
    wrong = [generation(PROMPTS[2], 1, 0)]
    assert set_top1_concept([], right, path) == 1.0
    assert set_top1_concept([], [*right, *wrong], path) == 0.75


def test_what_the_gallery_cannot_judge_is_not_computed(path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotComputedError, match="does not know the prompt 'a ship'"):
        set_top1_concept([], [generation("a ship", 0, 0)], path)
    small = Generation(np.zeros((8, 8, 3), np.float32), None, prompt=PROMPTS[0])
    with pytest.raises(NotComputedError, match="another size"):
        set_top1_concept([], [small], path)
    (tmp_path / "other.npz").write_bytes(b"not an archive")
    with pytest.raises(NotComputedError, match="no gallery"):
        set_top1_concept([], [], tmp_path / "other.npz")


def test_a_gallery_survives_the_disk(path: Path) -> None:
    wanted, got = gallery(), read_gallery(path)
    np.testing.assert_array_equal(got.rgba, wanted.rgba)
    np.testing.assert_array_equal(got.colours, wanted.colours)
    assert (got.labels, dict(got.prompts)) == (wanted.labels, dict(wanted.prompts))


def test_the_share_stands_in_the_summary_beside_the_decibels(path: Path, tmp_path: Path) -> None:
    found = results(tmp_path / "report")
    assert "top-1 concept" not in summary_table(found).headings
    placed = [generation(prompt, 2 * index % 6, 0).pixels for index, prompt in enumerate(PROMPTS)]
    generated = replace(record(0.0), pixels=np.clip(np.stack(placed), 0.0, 1.0))
    score = score_record(record(0.0), generated, 5.0, prompts=PROMPTS, weights=path.parent)
    expected = set_top1_concept(
        [], [Generation(p, None, prompt=t) for p, t in zip(generated.pixels, PROMPTS, strict=True)], path
    )
    assert score["top1_concept"]["median"] == pytest.approx(expected)
    found["cases"][2]["fidelity"] = score
    table = summary_table(found)
    assert table.headings[-1] == "top-1 concept"
    assert table.rows[2][-1] == f"{expected:.4f}"
    assert table.rows[1][-1] == "n/a"
