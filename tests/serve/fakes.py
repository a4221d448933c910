"""A maker without a model: images of one colour by their seed, in as many steps as asked, and every way to fail."""

import io
import os
import signal
import threading
import time
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress
from mezzotint.runtime import Origin, Settings
from mezzotint.runtime.images.files import encode_image
from mezzotint.runtime.metadata import text_chunks
from mezzotint.serve.orders.order import Order
from mezzotint.serve.work.maker import Ended, Listener, Outcome
from mezzotint.serve.work.messages import End, Made

ORIGIN = Origin("fake", "ab" * 32, "fp32", "portable", "fake", "f32", "0")


@dataclass
class FakeMaker:
    """`hold` set, every step waits until `go` is set; the prompt says what happens: "refuse", "break" and so on."""

    step_s: float = 0.0
    load_fails: str | None = None
    hold: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    made: list[Order] = field(default_factory=list)

    def load(self, progress: Progress) -> tuple[str, str]:
        """As a bundle would be."""
        progress("loading unet", 0, 1)
        if self.load_fails is not None:
            raise MezzotintError(self.load_fails)
        return "fake", "f32"

    def close(self) -> None:
        """Nothing to free."""

    def make(self, order: Order, listener: Listener) -> Outcome:
        """An image of each setting."""
        self.made.append(order)
        first = order.settings[0]
        _fail_as_told(first.prompt)
        steps = first.steps or 4
        for done in range(1, steps + 1):
            while self.hold and not self.go.wait(0.005) and listener.wants_end() is None:
                pass
            time.sleep(self.step_s)
            listener.stepped(done, steps, encode_image(Image.new("RGB", (8, 8)), "webp"))
            end = listener.wants_end()
            if end is End.CANCEL:
                raise Ended("cancelled")
            if end is not None:
                return Outcome(images=_images(order), milliseconds={}, is_interrupted=True)
            for index in range(order.partials):
                if (index + 1) * steps // (order.partials + 1) == done:
                    listener.partial(index, _images(order)[0].content)
        listener.decoding()
        return Outcome(images=_images(order), milliseconds={"unet": 1.0, "vae_decoder": 2.0})


def _fail_as_told(prompt: str) -> None:
    if prompt == "refuse":
        raise MezzotintError("the prompt cannot be generated; write another")
    if prompt == "break":
        raise RuntimeError("a kernel failed")
    if prompt == "crash":
        os.kill(os.getpid(), signal.SIGKILL)


def _images(order: Order) -> tuple[Made, ...]:
    return tuple(_image(one, order) for one in order.settings)


def _image(settings: Settings, order: Order) -> Made:
    settled = replace(
        settings,
        height=settings.height or 16,
        width=settings.width or 16,
        steps=settings.steps or 4,
        guidance=settings.guidance or 5.0,
        scheduler=settings.scheduler or "ddim",
    )
    height, width = settled.height or 0, settled.width or 0
    texts = text_chunks(settled, ORIGIN)
    content = encode_image(Image.new("RGB", (width, height), colour(settings.seed)), order.format, texts=texts)
    return Made(content=content, width=width, height=height, settings=settled, parameters=texts["parameters"])


def colour(seed: int) -> tuple[int, int, int]:
    """Of the image that has this seed."""
    return (seed % 256, seed // 256 % 256, seed // 65536 % 256)


def colour_of(content: bytes) -> tuple[int, int, int]:
    """Of an image's file."""
    with Image.open(io.BytesIO(content)) as image:
        red, green, blue = np.asarray(image)[0, 0]
    return int(red), int(green), int(blue)
