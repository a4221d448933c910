"""A request of AUTOMATIC1111's API as an order of ours."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Settings

from ..models.model import Model
from ..models.registry import Registry
from ..orders.masking import Masking
from ..orders.order import Order
from ..orders.resizing import RESIZES
from ..web.limits import RequestLimits
from ..web.refusal import Refusal
from ..web.uploads import checked_image, decode_base64
from .generation_request import NEUTRAL, NEUTRAL_SETTINGS, GenerationRequest
from .names import find_sampling
from .neutral import refuse_scripts, refuse_what_changes_the_image
from .options import OwnOptions, clip_layers

_SEEDS = 2**32
_BLUR = 4


@dataclass(frozen=True)
class Asked:
    """A model, the order, and how the request named the sampler."""

    model: Model
    order: Order
    sampler: str


async def order_of(
    request: GenerationRequest,
    raw: Mapping[str, Any],
    registry: Registry,
    limits: RequestLimits,
    *,
    from_image: bool,
    options: OwnOptions,
) -> Asked:
    """Raises MezzotintError and Refusal for what cannot be done; `raw` is the body with all of its fields."""
    overrides = request.override_settings or {}
    if not isinstance(overrides, Mapping):
        raise MezzotintError(what="override_settings", got=overrides, expected="an object")
    refuse_what_changes_the_image(raw, NEUTRAL, "")
    refuse_what_changes_the_image(overrides, NEUTRAL_SETTINGS, "override_settings.")
    refuse_scripts(raw)
    named = _text_or_none(overrides.get("sd_model_checkpoint"), "override_settings.sd_model_checkpoint")
    model = registry.find(named or options.model)
    layers = clip_layers(overrides.get("CLIP_stop_at_last_layers", options.clip_layers))
    sampler = request.sampler_name or request.sampler_index or "Euler"
    image, mask = await _images(request, limits) if from_image else (None, None)
    order = Order(
        settings=_settings(request, layers - 1, sampler, has_image=image is not None),
        batch=request.batch_size,
        image=image,
        mask=mask,
        masking=_masking(request) if mask is not None else None,
        resize=_resize(request.resize_mode),
    )
    return Asked(model, order, sampler)


def _settings(request: GenerationRequest, clip_skip: int, sampler: str, *, has_image: bool) -> tuple[Settings, ...]:
    ours, schedule = find_sampling(sampler, request.scheduler)
    first = _seed(request.seed)
    shared: dict[str, Any] = {
        "negative_prompt": request.negative_prompt,
        "steps": request.steps,
        "guidance": request.cfg_scale,
        "scheduler": ours,
        "schedule": schedule,
        "eta": _eta(request.eta, ours),
        "height": request.height,
        "width": request.width,
        "prompt_syntax": "weighted",
        "clip_skip": clip_skip,
        "strength": _strength(request) if has_image else None,
    }
    count = request.batch_size * request.n_iter
    return tuple(Settings(request.prompt, seed=first + index, **shared) for index in range(count))


def _seed(given: object) -> int:
    """-1 and nothing are a random one."""
    if given is None or given == "" or given == -1:
        return secrets.randbelow(_SEEDS)
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, str) and given.isascii() and given.isdigit():
        given = int(given[:20])
    if type(given) is not int or not 0 <= given < 2**64:
        raise MezzotintError(what="seed", got=given, expected="-1 or a whole number from 0")
    return given


def _eta(given: float | None, sampler: str) -> float | None:
    """Of DDIM it is honoured. Elsewhere 0 and 1 are what clients send whatever the sampler; others are refused."""
    if sampler == "ddim":
        return given or None
    if given not in (None, 0, 1):
        raise MezzotintError(what="eta", got=given, expected="0 or 1", advice="only DDIM takes another")
    return None


def _strength(request: GenerationRequest) -> float:
    return 0.75 if request.denoising_strength is None else request.denoising_strength


def _resize(mode: int) -> str:
    if mode >= len(RESIZES):
        raise MezzotintError(what="resize_mode", got=mode, expected="0, 1 or 2", advice="latent upscaling is not there")
    return RESIZES[mode]


def _masking(request: GenerationRequest) -> Masking:
    if request.inpainting_fill > 1:
        told = "0 or 1: latent noise and latent nothing are not there"
        raise MezzotintError(what="inpainting_fill", got=request.inpainting_fill, expected=told)
    if request.mask_blur is None and request.mask_blur_x != request.mask_blur_y:
        raise MezzotintError(what="mask_blur_x", got=request.mask_blur_x, expected="the same as mask_blur_y")
    return Masking(
        blur=request.mask_blur_x if request.mask_blur is None else request.mask_blur,
        only_masked=bool(request.inpaint_full_res),
        padding=request.inpaint_full_res_padding,
        fills=request.inpainting_fill == 0,
        inverts=bool(request.inpainting_mask_invert),
    )


async def _images(request: GenerationRequest, limits: RequestLimits) -> tuple[bytes, bytes | None]:
    if not request.init_images:
        raise Refusal(404, "Init image not found", "Init image not found", param="init_images")
    if len(request.init_images) > 1:
        raise MezzotintError(what="init_images has more than one", advice="send one image for all of a batch")
    image, _, _ = await checked_image(decode_base64(request.init_images[0], "init_images"), "init_images", limits)
    if request.mask is None:
        return image, None
    mask, _, _ = await checked_image(decode_base64(request.mask, "mask"), "mask", limits)
    return image, mask


def _text_or_none(given: object, name: str) -> str | None:
    if given is not None and not isinstance(given, str):
        raise MezzotintError(what=name, got=given, expected="a model's title, name or hash")
    return given
