"""Makes images with the runtime. Imported in workers alone: this is where an engine comes in."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from PIL import Image

from mezzotint.errors import Cancelled
from mezzotint.progress import Progress
from mezzotint.runtime import ImageToImage, Inpaint, Result, Settings, Step, TextToImage
from mezzotint.runtime.images.files import encode_image, read_image
from mezzotint.runtime.images.grid import grid
from mezzotint.runtime.metadata import text_chunks
from mezzotint.runtime.unfinished import unfinished

from ..orders.masking import Masked, masked
from ..orders.order import Kind, Order
from ..orders.resizing import resized
from .engine_options import EngineChoice
from .maker import Ended, Listener, Outcome
from .messages import End, Made

_TOLD_INTERVAL_S = 0.15  # more often nobody sees; each costs the front a millisecond, and half a one for the preview
_PREVIEW_QUALITY = 70
_LARGEST_PREVIEW_PIXELS = 128


class BundleMaker:
    """The pipelines of one bundle, or of a profile of it, all on the same loaded graphs."""

    def __init__(self, bundle: str, engine: EngineChoice, profile: str | None = None) -> None:
        self.bundle = bundle
        self.profile = profile
        self.engine = engine
        self._text: TextToImage | None = None

    def load(self, progress: Progress) -> tuple[str, str]:
        """Load the bundle; the engine's name and what it computes in."""
        engine = self.engine
        pipe = TextToImage.load(
            self.bundle,
            profile=self.profile,
            backend=engine.backend,
            threads=engine.threads,
            low_memory=engine.low_memory,
            progress=progress,
        )
        self._text = pipe
        return pipe.backend, pipe.precision

    def close(self) -> None:
        """Free the graphs."""
        if self._text is not None:
            self._text.close()

    def make(self, order: Order, listener: Listener) -> Outcome:
        """The images of every run of the order; one that is ended early with what it has is the last."""
        assert self._text is not None  # loaded before
        started = _Started.of(self._text, order)
        results: list[Result] = []
        is_whole = True
        run = _Run(self._text, order, listener, total=0, done=0)
        for batch in order.batches():
            result, end = run.generate(started, batch)
            results.append(result)
            is_whole = is_whole and end is None
            if end is End.KEEP:
                break
        images = tuple(made for result in results for made in _made(result, order, started.masked))
        return Outcome(images=images, milliseconds=_milliseconds(results), is_interrupted=not is_whole)


@dataclass(frozen=True)
class _Started:
    """What an order starts from, decoded and brought to its size."""

    image: Image.Image | None = None
    mask: Image.Image | None = None
    masked: Masked | None = None

    @classmethod
    def of(cls, pipe: TextToImage, order: Order) -> "_Started":
        if order.image is None:
            return cls()
        image = read_image(order.image)
        first = order.settings[0]
        factor = pipe.geometry.vae_factor
        width = first.width or image.width - image.width % factor
        height = first.height or image.height - image.height % factor
        pipe.geometry.latent_shape(height, width)
        if order.mask is None:
            return cls(image if order.resize == "stretch" else resized(image, width, height, order.resize))
        mask = read_image(order.mask)
        if order.masking is None:
            return cls(image, mask)
        whole = masked(image, mask, order.masking, width, height, order.resize)
        return cls(whole.image, whole.mask, whole)


class _Run:
    """The runs of one order, and who listens to them."""

    def __init__(self, pipe: TextToImage, order: Order, listener: Listener, *, total: int, done: int) -> None:
        self.pipe = pipe
        self.order = order
        self.listener = listener
        self.total = total
        self.done = done
        self._told_s = 0.0
        self._last: Step | None = None
        self._end: End | None = None

    def generate(self, started: _Started, batch: Sequence[Settings]) -> tuple[Result, End | None]:
        """The result of one run, and how it was ended where it was. Raises Ended."""
        before = self.done
        try:
            return self._generate(started, batch), None
        except Cancelled:
            if self._end is End.CANCEL or self._last is None:
                raise Ended("the job was cancelled") from None
        self.done = before + self._last.steps  # as if they had been made
        return unfinished(self.pipe, batch, self._last.denoised), self._end

    def _generate(self, started: _Started, batch: Sequence[Settings]) -> Result:
        kind, on_step = self.order.kind, self._on_step
        if kind is Kind.TEXT:
            return self.pipe.generate(batch, on_step=on_step)
        assert started.image is not None  # as the kind says
        if kind is Kind.IMAGE:
            return ImageToImage.sharing(self.pipe).generate(batch, started.image, on_step=on_step)
        assert started.mask is not None
        return Inpaint.sharing(self.pipe).generate(batch, started.image, started.mask, on_step=on_step)

    def _on_step(self, step: Step) -> bool:
        self._last = step
        runs = len(self.order.batches())
        self.total = step.steps * runs
        self.done += 1
        self._end = self.listener.wants_end()
        self._tell(step)
        if self._end is not None:
            return True
        self._partial(step)
        if self.done == self.total:
            self.listener.decoding()
        return False

    def _tell(self, step: Step) -> None:
        """Of the first step, of the last, and between them of as many as somebody could follow."""
        now_s = time.monotonic()
        is_due = now_s - self._told_s >= _TOLD_INTERVAL_S
        if is_due:
            self._told_s = now_s
        if is_due or self._end is not None or self.done == self.total:
            preview = self._preview(step) if is_due and self.order.has_previews else None
            self.listener.stepped(self.done, self.total, preview)

    def _preview(self, step: Step) -> bytes:
        image = grid(self.pipe.preview(step.denoised))
        image.thumbnail((_LARGEST_PREVIEW_PIXELS, _LARGEST_PREVIEW_PIXELS))
        return encode_image(image, "webp", quality=_PREVIEW_QUALITY)

    def _partial(self, step: Step) -> None:
        """Partial k of n comes when k of n + 1 parts of the first run's steps are done."""
        wanted = self.order.partials
        due = [index for index in range(wanted) if (index + 1) * step.steps // (wanted + 1) == step.index + 1]
        if not due or self.done > step.steps:
            return
        result = unfinished(self.pipe, self.order.batches()[0], step.denoised)
        for index in due:
            self.listener.partial(index, result.encode(0, self.order.format, quality=self.order.quality))


def _made(result: Result, order: Order, whole: Masked | None) -> list[Made]:
    images = result.images if whole is None else tuple(whole.put_back(image) for image in result.images)
    put = replace(result, images=images)
    return [
        Made(
            content=put.encode(index, order.format, quality=order.quality),
            width=image.width,
            height=image.height,
            settings=put.settings[index],
            parameters=text_chunks(put.settings[index], put.origin)["parameters"],
        )
        for index, image in enumerate(images)
    ]


def _milliseconds(results: Sequence[Result]) -> dict[str, float]:
    """Summed over the runs, by component."""
    spent: dict[str, float] = {}
    for timings in (result.timings for result in results):
        for field in fields(timings):
            name, value = field.name.removesuffix("_ms").removesuffix("_step"), getattr(timings, field.name)
            if name != "total":
                spent[name] = spent.get(name, 0.0) + (sum(value) if isinstance(value, tuple) else value)
    return spent
