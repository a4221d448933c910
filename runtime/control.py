"""A ControlNet or T2I-adapter of a bundle in a call: an image, and how much what is generated is to follow it.

edges = Control(name="edges", image=canny(Image.open("room.jpg")), scale=0.8, end=0.6)
image = pipe("a room full of plants", controls=[edges]).images[0]
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from mezzotint.arrays import plain
from mezzotint.errors import MezzotintError

from .control_use import ControlUse
from .images.init_image import ImageLike, as_image


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """The ControlNet or T2I-adapter that the bundle knows as `name`, and what it sees.

    `image` is ready for it: edges to one that was made for edges. `scale` multiplies what it says, and it says nothing
    before the part `start` of the run and after `end`, in [0, 1].
    """

    name: str
    image: ImageLike
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def seen(self) -> Image.Image:
        """The image in RGB. Raises MezzotintError as `as_image`."""
        if self.image is None:
            raise MezzotintError(what=f"the control {self.name!s:.60} has no image", advice="pass one")
        return as_image(self.image, f"image of the control {self.name!s:.60}").convert("RGB")

    def use(self) -> ControlUse:
        """What settings say of it."""
        image = self.seen()
        digest = hashlib.sha256(f"RGB {image.width}x{image.height}\n".encode() + image.tobytes()).hexdigest()
        scale, start, end = plain((self.scale, self.start, self.end))
        return ControlUse(name=self.name, scale=scale, start=start, end=end, image_sha256=digest)


def controls_of(given: object) -> tuple[Control, ...]:
    """MezzotintError for what is no sequence of `Control`s."""
    if not isinstance(given, Sequence) or not all(isinstance(one, Control) for one in given):
        expected = "a list of Control(name=..., image=...)"
        raise MezzotintError(what="controls", got=given, expected=expected)
    return tuple(given)


def images_of(options: Mapping[str, object]) -> tuple[Image.Image, ...]:
    """The images of a call's controls, in their order. Raises MezzotintError as `Control.seen`."""
    return tuple(one.seen() for one in controls_of(options.get("controls", ())))
