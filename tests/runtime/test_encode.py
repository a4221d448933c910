"""Images as bytes: settings are inside in every format, and what comes from elsewhere is measured before decoded."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.decibel import psnr_db
from mezzotint.runtime import (
    Bundle,
    MezzotintError,
    Result,
    Settings,
    Step,
    TextToImage,
    read_origin,
    read_settings,
)
from mezzotint.runtime.images.embedded_text import embedded_texts
from mezzotint.runtime.images.files import read_image
from mezzotint.runtime.metadata import text_chunks
from mezzotint.runtime.unfinished import unfinished

PROMPT = "a red apple, りんご 🍎"


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def result(tiny: TextToImage) -> Result:
    return tiny(PROMPT, steps=2, count=3, seed=5)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_format_holds_the_settings(result: Result, kind: str) -> None:
    content = result.encode(1, kind)
    assert read_settings(content) == result.settings[1]
    assert read_origin(io.BytesIO(content)) == result.origin
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format or "").lower() == kind
        assert embedded_texts(image)["parameters"] == text_chunks(result.settings[1], result.origin)["parameters"]


def test_bytes_and_file_are_the_same(result: Result, tmp_path: Path) -> None:
    for ending in ("png", "jpeg", "webp"):
        result.write(tmp_path / f"a.{ending}", 2)
        written = Image.open(tmp_path / f"a.{ending}")
        np.testing.assert_array_equal(np.asarray(written), np.asarray(Image.open(io.BytesIO(result.encode(2, ending)))))
        assert read_settings(tmp_path / f"a.{ending}") == result.settings[2]
    assert read_image(result.encode(2)).tobytes() == result.images[2].tobytes()


def test_a_user_comment_is_laid_out_as_exif_has_it(result: Result) -> None:
    """EXIF 2.32, 4.6.5: eight bytes that say the encoding, then the text; AUTOMATIC1111's is big-endian UTF-16."""
    with Image.open(io.BytesIO(result.encode(0, "jpeg"))) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\x00"
    assert comment[8:].decode("utf-16-be").startswith(PROMPT)


def test_a_jpeg_too_small_for_the_settings_is_refused_and_a_png_is_not(result: Result) -> None:
    settings = tuple(replace(one, prompt="x" * 60_000) for one in result.settings)
    long = replace(result, settings=settings)
    with pytest.raises(MezzotintError) as caught:
        long.encode(0, "jpeg")
    assert caught.value.advice is not None
    assert read_settings(long.encode(0, "png")).prompt == "x" * 60_000
    with pytest.raises(MezzotintError) as unknown:
        result.encode(0, "gif")
    assert (unknown.value.got, unknown.value.expected) == ("gif", ("png", "jpeg", "webp"))


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size, and has next to no pixels."""
    chunks = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))):
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return chunks


@pytest.mark.parametrize(("width", "height"), [(16, 50_000), (8_000, 8_000), (3_000, 1_000)])
def test_the_size_is_looked_at_before_anything_is_decoded(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _self: pytest.fail("it was decoded"))
    with pytest.raises(MezzotintError, match=f"has {width}x{height} pixels"):
        read_image(png_header(width, height), most_pixels=1_000_000)


def test_other_formats_and_other_bytes_are_refused(result: Result) -> None:
    content = io.BytesIO()
    result.images[0].save(content, format="BMP")
    assert read_image(content.getvalue()).size == result.images[0].size
    for odd in (content.getvalue(), b"", b"no image", result.encode(0)[:200]):
        with pytest.raises(MezzotintError, match="the image cannot be read as an image") as caught:
            read_image(odd, formats=("PNG", "JPEG", "WEBP"))
        assert "object at" not in str(caught.value)


def test_broken_exif_counts_as_none(result: Result) -> None:
    content = result.encode(0, "webp")
    at = content.index(b"UNICODE\x00")
    spoiled = content[: at - 60] + b"\xff" * 60 + content[at:]
    with pytest.raises(MezzotintError, match="does not say how it was generated"):
        read_settings(spoiled)


def test_seeds_may_be_one_an_image(tiny: TextToImage) -> None:
    batch = tiny(["a cat", "a dog"], steps=2, seed=[40, 7])
    assert [one.seed for one in batch.settings] == [40, 7]
    for settings, image in zip(batch.settings, batch.images, strict=True):
        np.testing.assert_array_equal(np.asarray(tiny.generate(settings).images[0]), np.asarray(image))
    for seeds in ([], [1], [1, 2, 3], [1, "2"], [1, None]):
        with pytest.raises(MezzotintError, match="seed"):
            tiny(["a cat", "a dog"], steps=2, seed=seeds)  # type: ignore[arg-type]  # of the wrong kind, too


def test_a_notebook_shows_all_images_and_no_arrays(result: Result) -> None:
    with Image.open(io.BytesIO(result._repr_png_())) as sheet:
        assert sheet.size == (32, 32)
        np.testing.assert_array_equal(np.asarray(sheet)[16:, :16], np.asarray(result.images[2]))
    assert len(repr(result)) < 100
    assert "5, 6, 7" in repr(result)


def test_a_step_can_be_made_an_image_with_its_settings(tiny: TextToImage) -> None:
    steps: list[Step] = []
    whole = tiny(PROMPT, steps=3, seed=9, count=2, on_step=steps.append)
    settings = [Settings(PROMPT, steps=3, seed=seed) for seed in (9, 10)]
    early = unfinished(tiny, settings, steps[0].denoised)
    assert early.settings == whole.settings
    np.testing.assert_array_equal(early.pixels, tiny.decode(steps[0].denoised))
    assert psnr_db(unfinished(tiny, settings, steps[-1].denoised).pixels, whole.pixels) > 40


def test_several_settings_make_a_batch_and_such_as_differ_in_more_do_not(tiny: TextToImage) -> None:
    first = Settings("a cat", steps=2, seed=3)
    batch = tiny.generate([first, replace(first, prompt="a dog", seed=1)])
    assert batch.images[0].tobytes() == tiny.generate(first).images[0].tobytes()
    for odd in ([], [first, replace(first, steps=3)]):
        with pytest.raises(MezzotintError, match="settings"):
            tiny.generate(odd)
