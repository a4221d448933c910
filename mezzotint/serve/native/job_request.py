"""What `POST /api/v1/jobs` takes, and the order that it comes to."""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from mezzotint.adapters.given import MOST_SCALE
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Settings
from mezzotint.runtime.images.files import FORMATS
from mezzotint.runtime.micro_conditioning import MICRO_PAIRS
from mezzotint.runtime.noise.batch import RNGS
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.spacing import SPACINGS
from mezzotint.runtime.text.encoding import PROMPT_SYNTAXES

from ..fields.bounds import bounded, required
from ..orders.masking import Masking
from ..orders.order import Order
from ..orders.resizing import RESIZES
from ..web.limits import RequestLimits
from ..web.uploads import checked_image, decode_base64

SEEDS: Final = 2**32  # of random ones: as many as other interfaces choose from
_SAMPLERS = tuple(sampler.name for sampler in SAMPLERS)
_STRENGTHS = {False: 0.8, True: 1.0}  # by whether there is a mask, as in the command line


def _pair(about: str) -> Any:
    return bounded(None, longest=2, about=about)


@dataclass(frozen=True, kw_only=True)
class LoraRequest:
    """A live adapter of the model, as far as it is on."""

    name: str = required(about="Its name.")
    scale: float = bounded(1.0, least=-MOST_SCALE, most=MOST_SCALE, about="How much of it; 0 is off.")


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The settings have the command line's names and defaults; null is the model's own."""

    prompt: str = required(about="What to generate.")
    negative_prompt: str | None = bounded(None, about="What the image should not show.")
    model: str | None = bounded(None, about="A model's id; null is the server's default.")
    seed: int | None = bounded(None, least=0, most=2**64 - 1, about="Null is a random one, which the job tells.")
    count: int = bounded(1, least=1, most=64, about="Images, with the seeds from `seed` on.")
    steps: int | None = bounded(None, least=1, most=1000, about="Denoising steps.")
    guidance: float | None = bounded(None, least=-1000, most=1000, about="Guidance scale; 1 or less is none.")
    scheduler: str | None = bounded(None, choices=_SAMPLERS, about="The sampler.")
    schedule: str | None = bounded(None, choices=SPACINGS, about="How noise levels are spaced.")
    eta: float | None = bounded(None, least=0, most=1, about="Noise that the steps of ddim and tcd add.")
    height: int | None = bounded(None, least=1, most=16384, about="In pixels.")
    width: int | None = bounded(None, least=1, most=16384, about="In pixels.")
    guidance_rescale: float = bounded(0.0, least=0, most=1, about="Takes back contrast that guidance adds.")
    guidance_interval: tuple[float, ...] | None = bounded(None, longest=2, about="Parts of the run with guidance.")
    cache_interval: int | None = bounded(None, least=1, most=1000, about="Calls from one whole denoiser to the next.")
    prompt_syntax: str = bounded("plain", choices=PROMPT_SYNTAXES, about="How prompts are read.")
    rng: str = bounded("torch", choices=RNGS, about="Whose noise a seed stands for.")
    clip_skip: int = bounded(0, least=0, most=64, about="Last layers of the text encoder to leave out.")
    loras: tuple[LoraRequest, ...] = bounded((), longest=64, about="Live adapters that are on.")
    original_size: tuple[int, ...] | None = _pair("Height and width that Stable Diffusion XL is told.")
    crops_coords_top_left: tuple[int, ...] | None = _pair("Top and left of the crop that it is told.")
    target_size: tuple[int, ...] | None = _pair("Height and width of the crop.")
    negative_original_size: tuple[int, ...] | None = _pair("The same of what the image should not show.")
    negative_crops_coords_top_left: tuple[int, ...] | None = _pair("The same.")
    negative_target_size: tuple[int, ...] | None = _pair("The same.")
    aesthetic_score: float | None = bounded(None, least=0, most=10, about="Score that refiners are told.")
    negative_aesthetic_score: float | None = bounded(None, least=0, most=10, about="The same.")
    image: str | None = bounded(None, about="An image to start from, in base64 or as a data URL.")
    mask: str | None = bounded(None, about="White is generated; with it the image is inpainted.")
    strength: float | None = bounded(None, least=0, most=1, about="Part of the steps that is run; 0.8, with a mask 1.")
    resize: str = bounded("stretch", choices=RESIZES, about="How the image gets to another size.")
    keep_unmasked: bool = bounded(True, about="Put the image's own pixels back where the mask is black.")
    mask_blur: int = bounded(0, least=0, most=256, about="Softens the mask's edge, in pixels.")
    only_masked: bool = bounded(False, about="Generate the part around the mask alone, at full size.")
    mask_padding: int = bounded(0, least=0, most=1024, about="Pixels around the mask of that part.")
    format: str = bounded("png", choices=tuple(FORMATS), about="Of the images.")
    quality: int = bounded(95, least=0, most=100, about="Of jpeg and webp.")
    previews: bool = bounded(True, about="Small images while it runs.")
    partials: int = bounded(0, least=0, most=3, about="Whole images on the way.")


async def order_of(request: JobRequest, limits: RequestLimits) -> Order:
    """The order; its images are decoded once to see that they can be. Raises MezzotintError."""
    image = await _image(request.image, "image", limits)
    mask = await _image(request.mask, "mask", limits)
    if image is None and (mask is not None or request.strength is not None):
        raise MezzotintError(what="mask and strength need an image to start from", advice="send image")
    masking = _masking(request, has_mask=mask is not None)
    return Order(
        settings=_settings(request, has_image=image is not None, has_mask=mask is not None),
        image=image,
        mask=mask,
        masking=masking,
        resize=request.resize,
        format=request.format,
        quality=request.quality,
        partials=request.partials,
        has_previews=request.previews,
    )


def _settings(request: JobRequest, *, has_image: bool, has_mask: bool) -> tuple[Settings, ...]:
    strength = request.strength if request.strength is not None else _STRENGTHS[has_mask]
    first = secrets.randbelow(SEEDS) if request.seed is None else request.seed
    shared: dict[str, Any] = {
        "negative_prompt": request.negative_prompt,
        "steps": request.steps,
        "guidance": request.guidance,
        "scheduler": request.scheduler,
        "schedule": request.schedule,
        "eta": request.eta,
        "height": request.height,
        "width": request.width,
        "guidance_rescale": request.guidance_rescale,
        "guidance_interval": _two(request, "guidance_interval"),
        "cache_interval": request.cache_interval,
        "prompt_syntax": request.prompt_syntax,
        "rng": request.rng,
        "clip_skip": request.clip_skip,
        "strength": strength if has_image else None,
        "loras": _loras(request.loras),
        "aesthetic_score": request.aesthetic_score,
        "negative_aesthetic_score": request.negative_aesthetic_score,
        **{name: _two(request, name) for name in MICRO_PAIRS},
    }
    return tuple(Settings(request.prompt, seed=first + index, **shared) for index in range(request.count))


def _loras(asked: tuple[LoraRequest, ...]) -> dict[str, float]:
    scales = {one.name: one.scale for one in asked}
    if len(scales) < len(asked):
        raise MezzotintError(what="loras", got=[one.name for one in asked], expected="each name once")
    return scales


def _two(request: JobRequest, name: str) -> tuple[Any, Any] | None:
    values = getattr(request, name)
    if values is None:
        return None
    if len(values) != 2:
        raise MezzotintError(what=name, got=values, expected="two numbers")
    return values[0], values[1]


def _masking(request: JobRequest, *, has_mask: bool) -> Masking | None:
    asked = {
        "mask_blur": request.mask_blur,
        "only_masked": request.only_masked,
        "mask_padding": request.mask_padding,
    }
    given = [name for name, value in asked.items() if value]
    if given and not (has_mask and request.keep_unmasked):
        advice = "send a mask" if not has_mask else "leave keep_unmasked true"
        raise MezzotintError(what=f"{given[0]} acts where the rest of an image is put back", advice=advice)
    if not has_mask or not request.keep_unmasked:
        return None
    return Masking(blur=request.mask_blur, only_masked=request.only_masked, padding=request.mask_padding)


async def _image(text: str | None, name: str, limits: RequestLimits) -> bytes | None:
    if text is None:
        return None
    content, _, _ = await checked_image(decode_base64(text, name), name, limits)
    return content
