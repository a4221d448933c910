"""The page in Chromium: generate, watch, cancel, reload, two tabs, images with settings, masks, keys, restarts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mezzotint.runtime import Bundle, TextToImage
from mezzotint.serve.work.bundle_maker import BundleMaker
from tests.runtime.test_image_to_image import photo
from tests.serve.browser.page import drop, finished, generate, opened, pixel
from tests.serve.fakes import FakeMaker, colour
from tests.serve.live import ENGINE, Live, live

pytestmark = pytest.mark.browser


def test_generate_with_progress_and_preview(context: Any, server: Live) -> None:
    page = opened(context, server)
    generate(page, steps=12, seed=200)
    page.wait_for_selector('.job img.preview[src^="data:image/webp"]')
    page.wait_for_function("() => document.querySelector('.job progress')?.value > 0.3")
    assert "step" in page.inner_text(".job .where")
    finished(page)
    assert pixel(page, (3, 3)) == list(colour(200))
    assert page.inner_text("#status") == "The image is done."
    page.wait_for_selector("#queue-empty:visible")
    page.click("#gallery li button")
    assert "200" in page.inner_text("#viewer-settings")
    page.click("#viewer-settings-use")
    assert (page.input_value("#seed"), page.input_value("#prompt")) == ("200", "a cat")


def test_cancel(context: Any, server: Live, slow_maker: FakeMaker) -> None:
    slow_maker.hold = True
    page = opened(context, server)
    generate(page)
    page.click(".job button")
    page.wait_for_selector("#queue-empty:visible")
    assert page.locator("#gallery li").count() == 0
    assert [job["status"] for job in server.client.get("/api/v1/jobs").json()["jobs"]] == ["cancelled"]


def test_two_tabs_in_one_queue(context: Any, server: Live, slow_maker: FakeMaker) -> None:
    slow_maker.hold = True
    first, second = opened(context, server), opened(context, server)
    generate(first, "a cat")
    second.wait_for_selector(".job")
    generate(second, "a dog")
    for page in (first, second):
        page.wait_for_function("() => document.querySelectorAll('.job').length === 2")
        assert page.locator(".job .where").nth(1).inner_text() == "Next in the queue"
    slow_maker.go.set()
    for page in (first, second):
        finished(page, 2)


def test_a_reload_in_the_middle_loses_nothing(context: Any, server: Live, slow_maker: FakeMaker) -> None:
    slow_maker.hold = True
    page = opened(context, server)
    generate(page, seed=77)
    page.wait_for_selector('.job[data-status="generating"]')
    page.reload()
    page.wait_for_selector(".job")
    assert page.input_value("#prompt") == "a cat"
    slow_maker.go.set()
    finished(page)
    page.reload()
    finished(page)
    assert pixel(page, (0, 0)) == list(colour(77))


def test_an_image_brings_its_settings(context: Any, server: Live, tiny_bundle: Bundle, tmp_path: Path) -> None:
    pipe = TextToImage.load(tiny_bundle.path, backend="onnxruntime", threads=1)
    pipe("a green pear", seed=31, steps=3, scheduler="dpmpp-2m", schedule="karras").write(tmp_path / "ours.png")
    page = opened(context, server)
    drop(page, "h1", tmp_path / "ours.png")
    page.wait_for_function("() => document.querySelector('#prompt').value === 'a green pear'")
    values = {name: page.input_value(f"#{name}") for name in ("seed", "steps", "scheduler", "schedule", "width")}
    assert values == {"seed": "31", "steps": "3", "scheduler": "dpmpp-2m", "schedule": "karras", "width": "16"}
    info = PngImagePlugin.PngInfo()
    info.add_text(
        "parameters", "a dog\nNegative prompt: cat\nSteps: 9, Sampler: Euler a, CFG scale: 4, Seed: 8, Size: 16x24"
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "theirs.png", pnginfo=info)
    drop(page, "h1", tmp_path / "theirs.png")
    page.wait_for_function("() => document.querySelector('#prompt').value === 'a dog'")
    assert (page.input_value("#scheduler"), page.input_value("#height")) == ("euler-ancestral", "24")
    drop(page, "#drop", tmp_path / "ours.png")
    page.wait_for_selector("#source:visible")


@pytest.fixture
def painting(bundles: Path) -> Iterator[Live]:
    with live(bundles, lambda: BundleMaker(str(bundles / "tiny"), ENGINE)) as server:
        yield server


@pytest.mark.parametrize("how", ["pointer", "keyboard"])
def test_outside_of_a_painted_mask_nothing_changes(context: Any, painting: Live, tmp_path: Path, how: str) -> None:
    source = photo(16, 16)
    source.save(tmp_path / "photo.png")
    page = opened(context, painting)
    page.click("#from-image summary")
    page.set_input_files("#image-file", tmp_path / "photo.png")
    page.check("#masked")
    if how == "pointer":
        box = page.locator("#mask").bounding_box()
        page.evaluate("document.querySelector('#brush').value = 60")
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.8, steps=8)
        page.mouse.up()
    else:
        for name, value in {"x": 0, "y": 0, "w": 50, "h": 100}.items():
            page.fill(f"#rect-{name}", str(value))
        page.focus("#rect-add")
        page.keyboard.press("Enter")
    generate(page, steps=2, seed=1)
    finished(page)
    before = np.asarray(source)
    assert all(pixel(page, (x, y)) == before[y, x].tolist() for x, y in ((12, 3), (15, 8), (11, 14)))
    assert any(pixel(page, (4, y)) != before[y, 4].tolist() for y in (6, 8, 10))


def test_without_a_mask_a_sentence_says_what_to_do(context: Any, server: Live, tmp_path: Path) -> None:
    photo(16, 16).save(tmp_path / "photo.png")
    page = opened(context, server)
    page.click("#from-image summary")
    page.set_input_files("#image-file", tmp_path / "photo.png")
    page.check("#masked")
    generate(page)
    page.wait_for_selector("#error:visible")
    page.fill("#steps", "999")
    page.uncheck("#masked")
    page.click("#generate")
    page.wait_for_selector('#steps[aria-invalid="true"]')


def test_a_wrong_key_and_a_right_one(context: Any, bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-key-of-some-length\n")
    with live(bundles, FakeMaker, keys_file=str(tmp_path / "keys")) as server:
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector("#key[open]")
        page.fill("#key-value", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-error:visible")
        page.fill("#key-value", "a-key-of-some-length")
        page.keyboard.press("Enter")
        page.wait_for_selector('#connection[data-state="live"]')
        generate(page)
        finished(page)
        assert page.evaluate("document.cookie") == ""


def test_a_restart_in_the_middle_is_told(context: Any, bundles: Path) -> None:
    held = FakeMaker(hold=True)
    with live(bundles, lambda: held) as server:
        page = opened(context, server)
        port = int(server.url.rpartition(":")[2])
        generate(page)
        page.wait_for_selector('.job[data-status="generating"]')
    page.wait_for_selector('#connection[data-state="away"]')
    with live(bundles, FakeMaker, port=port):
        page.wait_for_selector('#connection[data-state="live"]')
        page.wait_for_selector(".job.failed")
        page.click(".job button")
        generate(page, "a dog")
        finished(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_at_any_width(
    browser: Any, server: Live, slow_maker: FakeMaker, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe; `make test-browser` installs it")
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(45_000)
    page = opened(context, server)

    def check(state: str) -> None:
        found = axe.Axe().run(page).response["violations"]
        assert [(state, one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state

    check("empty")
    generate(page, "a very long prompt " * 12)
    finished(page)
    check("an image")
    page.click("#gallery li button")
    check("the viewer")
    page.click("#viewer-inpaint")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    check("the form with a mask")
    page.click("#model-about")
    check("about")
    page.click("#about-close")
    page.click("#image-remove")
    slow_maker.hold = True
    generate(page, "a cat", steps=3)
    page.wait_for_selector('.job[data-status="generating"]')
    check("running")
    slow_maker.hold = False
    finished(page, 2)
    page.fill("#steps", "3")
    generate(page, "break")
    page.wait_for_selector(".job.failed")
    check("failed")
    context.close()
