from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.benchmarks.cases.case import REFERENCE
from mezzotint.benchmarks.report.images import AMPLIFICATION
from mezzotint.benchmarks.report.strip_image import strip_image
from mezzotint.errors import MezzotintError
from tests.benchmarks.synthetic import results


def test_each_row_shows_its_images_and_the_last_their_difference(tmp_path: Path) -> None:
    made = results(tmp_path)
    rows = {row["name"]: row for row in made["cases"]}
    count = len(made["workload"]["prompts"])
    sheet = np.asarray(strip_image(made, tmp_path, "int8-openvino"))
    for column in range(min(8, count)):
        index = column * count // min(8, count)
        pair = []
        for name in (REFERENCE, "int8-openvino"):
            with Image.open(tmp_path / (rows[name]["images"] or [])[index]) as image:
                pair.append(np.asarray(image.convert("RGB")).astype(int))
        left = 128 + column * 134
        expected = np.clip(128 + AMPLIFICATION * (pair[1] - pair[0]), 0, 255)
        for row, corner in enumerate((pair[0][0, 0], pair[1][0, 0], expected[0, 0])):
            np.testing.assert_array_equal(sheet[6 + row * 134, left], corner)


def test_results_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="has no images of nothing"):
        strip_image(results(tmp_path), tmp_path, "nothing")
