"""What a search says of images that a gallery of training images can judge."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mezzotint.benchmarks.metrics.gallery import Gallery, write_gallery
from mezzotint.bundle.profile import Goal, Promise
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.tune.judge import GALLERY_NAME, TOP1_CONCEPT, open_judge
from mezzotint.tune.prompts import split_prompts
from mezzotint.tune.report import concept_text, write_report
from mezzotint.tune.studio import Studio
from mezzotint.tune.tune import Request, tune_bundle

PROMPTS = tuple(f"{number} plums and a red apple" for number in range(10))
SPLIT = split_prompts(PROMPTS, 5, 5)
FLOOR = Promise(goal=Goal.PSNR_DB, value=45.0)


@pytest.fixture(scope="module")
def weights(short: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its images are those of the bundle's own settings; three of the five prompts that confirm ask for theirs."""
    with TextToImage.load(short.path) as pipe:
        images = {text: pipe(text, seed=seed).pixels[0] for text, seed in (*SPLIT.search, *SPLIT.confirm)}
    opaque = [np.dstack([np.round(255 * image), np.full(image.shape[:2], 255)]) for image in images.values()]
    right = [text for text, _ in SPLIT.confirm][:3]
    asked = {text: (text if text in right else "nothing", 0) for text in images}
    folder = tmp_path_factory.mktemp("weights")
    black = np.zeros((1, 3), dtype=np.float32)
    gallery = Gallery(np.asarray(opaque, dtype=np.uint8), tuple(images), black, {**asked})
    write_gallery(gallery, folder / GALLERY_NAME)
    return folder


def test_images_are_asked_what_they_show(
    short: Bundle, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that an earlier search measured too, which it did not ask; what this one measured stands."""
    copy = shutil.copytree(short.path, tmp_path / "copy")
    plain = Request(bundle=copy, promise=FLOOR, prompts=PROMPTS, search=5, confirm=5, name="plain")
    first = tune_bundle(plain)
    assert concept_text(first.found) is None
    judged = Request(bundle=copy, promise=FLOOR, prompts=PROMPTS, search=5, confirm=5, weights=weights)
    tuned = tune_bundle(judged)
    assert tuned.found.own.figure(TOP1_CONCEPT) == 0.6
    assert tuned.found.chosen.figure(TOP1_CONCEPT) in (0.0, 0.2, 0.4, 0.6)
    assert tuned.profile.settings == first.profile.settings
    data, markdown, page = write_report(tuned, tmp_path / "report")
    assert json.loads(data.read_text(encoding="utf-8"))["confirmed"]["own"][TOP1_CONCEPT] == 0.6
    shown = concept_text(tuned.found)
    assert shown is not None
    assert all(shown.replace("'", mark) in path.read_text("utf-8") for path, mark in ((markdown, "'"), (page, "&#39;")))
    assert page.read_text(encoding="utf-8").count("<svg") == 3
    monkeypatch.setattr(Studio, "generate", None)
    again = tune_bundle(Request(**{**vars(judged), "name": "again"}))
    assert again.found.own.figure(TOP1_CONCEPT) == 0.6


def test_each_image_is_judged_by_the_nearest(short: Bundle, weights: Path) -> None:
    judge = open_judge(weights, SPLIT.search)
    with TextToImage.load(short.path) as pipe:
        (first, seed), (last, _) = SPLIT.confirm[0], SPLIT.confirm[-1]
        pixels = pipe(first, seed=seed).pixels[0]
    assert judge(first, pixels) == 1.0
    assert judge(last, pixels) == 0.0
    with pytest.raises(MezzotintError) as error:
        judge(first, pixels[:8])
    assert error.value.where == weights / GALLERY_NAME


def test_prompts_that_the_gallery_does_not_know_are_refused(short: Bundle, weights: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(short.path, tmp_path / "copy")
    request = Request(bundle=copy, promise=FLOOR, prompts=(*PROMPTS, "a pear"), search=6, confirm=5, weights=weights)
    with pytest.raises(MezzotintError) as error:
        tune_bundle(request)
    assert (error.value.got, error.value.exit_code) == ("a pear", 2)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\3\4 and no more"])
def test_a_folder_without_a_gallery_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / GALLERY_NAME).write_bytes(content)
    with pytest.raises(MezzotintError) as error:
        open_judge(tmp_path, SPLIT.search)
    assert error.value.where == tmp_path / GALLERY_NAME
