"""What a person does on the page."""

from pathlib import Path
from typing import Any

from tests.serve.live import Live


def opened(context: Any, server: Live) -> Any:
    """A tab with the page, connected."""
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector('#connection[data-state="live"]')
    return page


def generate(page: Any, prompt: str = "a cat", **fields: object) -> None:
    """Fill in the form and press the button."""
    page.fill("#prompt", prompt)
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))
    page.click("#generate")


def finished(page: Any, count: int = 1) -> None:
    """Wait for so many images in the gallery."""
    page.wait_for_function("count => document.querySelectorAll('#gallery li').length === count", arg=count)


def drop(page: Any, selector: str, path: Path) -> None:
    """Drop a file from the desktop onto what `selector` finds."""
    page.evaluate(
        """async ([selector, bytes, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            const target = document.querySelector(selector);
            target.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        [selector, list(path.read_bytes()), path.name],
    )


def pixel(page: Any, place: tuple[int, int]) -> list[int]:
    """Of the newest image in the gallery: red, green, blue."""
    found: list[int] = page.evaluate(
        """async ([x, y]) => {
            const picture = document.querySelector("#gallery img");
            await picture.decode();
            const sheet = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
            const context = sheet.getContext("2d");
            context.drawImage(picture, 0, 0);
            return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
        }""",
        list(place),
    )
    return found
