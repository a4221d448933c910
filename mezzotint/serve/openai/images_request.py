"""What `POST /v1/images/generations` and `/edits` take, and the order that it comes to.

`negative_prompt`, `num_inference_steps`, `guidance_scale`, `seed`, `strength` and `scheduler` are extensions.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Settings
from mezzotint.runtime.images.files import FORMATS
from mezzotint.runtime.samplers.lineup import SAMPLERS

from ..fields.bounds import bounded, required
from ..orders.masking import Masking
from ..orders.order import Order

_SEEDS = 2**32
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_FORMATS: Final = tuple(FORMATS)
_SAMPLERS = tuple(sampler.name for sampler in SAMPLERS)
_STRENGTH = 0.8


@dataclass(frozen=True, kw_only=True)
class GenerationsRequest:
    """Fields of OpenAI's that describe the account or another model's look are read and left aside."""

    prompt: str = required(about="What to generate.")
    model: str | None = bounded(None, about="A model's id; null is the server's default.")
    n: int | None = bounded(1, least=1, most=10, about="Images.")
    size: str | None = bounded("auto", about="WIDTHxHEIGHT in pixels, or auto: the model's own.")
    response_format: str | None = bounded("b64_json", choices=("b64_json", "url"), about="How images come.")
    output_format: str | None = bounded("png", choices=_FORMATS, about="Of the images.")
    output_compression: int | None = bounded(95, least=0, most=100, about="Quality of jpeg and webp.")
    stream: bool | None = bounded(False, about="Send server-sent events.")
    partial_images: int | None = bounded(0, least=0, most=3, about="Images on the way, with stream.")
    quality: str | None = bounded(None, about="Left aside.")
    style: str | None = bounded(None, about="Left aside.")
    background: str | None = bounded(None, choices=("auto", "opaque"), about="Images are opaque.")
    moderation: str | None = bounded(None, about="Left aside.")
    user: str | None = bounded(None, about="Left aside.")
    negative_prompt: str | None = bounded(None, about="What the image should not show.")
    num_inference_steps: int | None = bounded(None, least=1, most=1000, about="Denoising steps.")
    guidance_scale: float | None = bounded(None, least=-1000, most=1000, about="Guidance scale.")
    seed: int | None = bounded(None, least=0, most=2**64 - 1, about="Null is a random one.")
    rng_seed: int | None = bounded(None, least=0, most=2**64 - 1, about="Another name of it.")
    scheduler: str | None = bounded(None, choices=_SAMPLERS, about="The sampler.")


@dataclass(frozen=True, kw_only=True)
class EditsRequest(GenerationsRequest):
    """The same, with what an edit has besides; `image` and `mask` are files of the form."""

    input_fidelity: str | None = bounded(None, about="Left aside.")
    strength: float | None = bounded(None, least=0, most=1, about="Part of the steps that is run; 0.8, with a mask 1.")


def order_of(request: GenerationsRequest, *, image: bytes | None = None, mask: bytes | None = None) -> Order:
    """The order. Raises MezzotintError."""
    width, height = _size(request.size)
    strength = request.strength if isinstance(request, EditsRequest) else None
    if image is not None and strength is None:
        strength = _STRENGTH if mask is None else 1.0
    shared: dict[str, Any] = {
        "negative_prompt": request.negative_prompt,
        "steps": request.num_inference_steps,
        "guidance": request.guidance_scale,
        "scheduler": request.scheduler,
        "height": height,
        "width": width,
        "strength": strength,
    }
    first = _seed(request)
    partials = (request.partial_images or 0) if request.stream else 0
    return Order(
        settings=tuple(Settings(request.prompt, seed=first + index, **shared) for index in range(request.n or 1)),
        image=image,
        mask=mask,
        masking=None if mask is None else Masking(),
        format=request.output_format or "png",
        quality=95 if request.output_compression is None else request.output_compression,
        partials=partials,
        has_previews=False,
    )


def _seed(request: GenerationsRequest) -> int:
    given = request.seed if request.seed is not None else request.rng_seed
    return secrets.randbelow(_SEEDS) if given is None else given


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text in (None, "auto"):
        return None, None
    found = _SIZE.fullmatch(text or "")
    if found is None:
        raise MezzotintError(what="size", got=text, expected="WIDTHxHEIGHT such as 512x512, or auto")
    return int(found[1]), int(found[2])
