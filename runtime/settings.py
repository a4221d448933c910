"""What an image is generated with: all that has to be equal for the image to be the same."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypedDict

from mezzotint.arrays import plain
from mezzotint.bundle.defaults import MOST_GUIDANCE
from mezzotint.errors import MezzotintError
from mezzotint.families.micro_conditioning import Pair

from .control import Control, controls_of
from .control_use import ControlUse, check_use
from .micro_conditioning import MICRO_OPTIONS, check_micro_option
from .samplers.spacing import SPACINGS
from .text.encoding import PROMPT_SYNTAXES

_NAMES_OF_DIFFUSERS: Final[Mapping[str, str]] = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "num_images_per_prompt": "count",
    "generator": "seed",
    "callback_on_step_end": "on_step",
}
_MOST_IMAGES = 1024  # in one batch


@dataclass(frozen=True)
class Settings:
    """The settings of one image; `height` and `width` in pixels.

    `steps`, `guidance`, `scheduler`, the intervals and the size are None where nobody chose, for the bundle's own;
    those of an image that was generated never are.
    `schedule` is how noise levels are spaced (samplers/spacing.py) and `eta` in [0, 1] how much noise the steps of ddim
    and tcd add; None is what scheduler_config.json says, and 0 and 0.3.
    A `negative_prompt` of None is the empty text to most families, and no condition
    at all to others.
    `guidance_rescale` in [0, 1] takes back what strong guidance adds to the contrast (Lin et al. 2024, section 3.4).
    `guidance_interval` are the parts of the run, in [0, 1], between which guidance is on (Kynkaanniemi et al. 2024).
    `cache_interval` is how many calls there are from one that runs the whole denoiser to the next (feature_cache.py).
    `clip_skip` leaves out the text encoder's last layers for the prompt and, as in diffusers, not for the negative one.
    `strength` in (0, 1] is how much of the run an input image goes through; None where there is no input image.
    `original_size` and those after it are for families that are told of them, and have diffusers' names: sizes
    (height, width) and places (top, left) in pixels. None is the image's own size, its top left corner, and diffusers'
    scores; of negative ones, what the prompt has. `refined_from` in (0, 1) is where in the run another bundle took
    over, which generated the image; None where none did. `loras` has the scale of each live adapter of the bundle that
    is to be on, by its name. `controls` are the ControlNets and T2I-adapters that it follows, in `guess_mode` whatever
    the prompt says.
    """

    prompt: str
    negative_prompt: str | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    scheduler: str | None = None
    height: int | None = None
    width: int | None = None
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None
    cache_interval: int | None = None
    prompt_syntax: str = "plain"
    rng: str = "torch"
    vae_tiling: bool | None = None
    clip_skip: int = 0
    strength: float | None = None
    original_size: Pair | None = None
    crops_coords_top_left: Pair | None = None
    target_size: Pair | None = None
    negative_original_size: Pair | None = None
    negative_crops_coords_top_left: Pair | None = None
    negative_target_size: Pair | None = None
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None
    schedule: str | None = None
    eta: float | None = None
    refined_from: float | None = None
    loras: Mapping[str, float] = field(default_factory=dict)
    controls: tuple[ControlUse, ...] = ()
    guess_mode: bool = False


class Options(TypedDict, total=False):
    """The keywords of a call: the settings besides the prompt. See `Settings` for what they mean and their defaults."""

    negative_prompt: str | Sequence[str | None] | None
    steps: int | None
    guidance: float | None
    seed: int | Sequence[int]
    scheduler: str | None
    height: int | None
    width: int | None
    guidance_rescale: float
    guidance_interval: tuple[float, float] | None
    cache_interval: int | None
    prompt_syntax: str
    rng: str
    vae_tiling: bool | None
    clip_skip: int
    original_size: Pair | None
    crops_coords_top_left: Pair | None
    target_size: Pair | None
    negative_original_size: Pair | None
    negative_crops_coords_top_left: Pair | None
    negative_target_size: Pair | None
    aesthetic_score: float | None
    negative_aesthetic_score: float | None
    schedule: str | None
    eta: float | None
    loras: Mapping[str, float]
    controls: Sequence[Control]
    guess_mode: bool


def settings_of_batch(
    prompt: str | Sequence[str], count: int, options: Options, strength: float | None = None
) -> tuple[Settings, ...]:
    """One for each image: `count` of every prompt in turn, image i with the seed `seed + i`, or `seed[i]` of several.

    Raises MezzotintError for no prompt, for a count below 1, and for negative prompts that are not one or one a prompt,
    or seeds that are not one or one an image.
    """
    _refuse_unknown(options)
    count, strength, options = plain((count, strength, options))
    prompts = _texts("prompt", prompt)
    if not prompts:
        raise MezzotintError("got no prompt; pass at least one")
    _check_integer("count", count)
    if count < 1 or count * len(prompts) > _MOST_IMAGES:
        raise MezzotintError(
            f"count is {count}, expected at least 1 image of each prompt, and {_MOST_IMAGES} in all at most"
        )
    given = options.get("negative_prompt")
    negatives = _negatives(given) * (len(prompts) if given is None or isinstance(given, str) else 1)
    if len(negatives) != len(prompts):
        raise MezzotintError(f"got {len(negatives)} negative prompts for {len(prompts)} prompts; pass one, or as many")
    seeds = seeds_of(options.get("seed", Settings.seed), count * len(prompts))
    single: Options = {**options, "negative_prompt": None, "seed": seeds[0]}
    uses = tuple(one.use() for one in controls_of(options.get("controls", ())))
    first = Settings("", strength=strength, **{**single, "controls": uses})  # type: ignore[arg-type]  # one by now
    check_settings(first)
    pairs = [pair for pair in zip(prompts, negatives, strict=True) for _ in range(count)]
    return tuple(
        replace(first, prompt=text, negative_prompt=negative, seed=seed)
        for seed, (text, negative) in zip(seeds, pairs, strict=True)
    )


def _refuse_unknown(options: Iterable[str]) -> None:
    """Raises MezzotintError for a keyword that is none of `Options`, with our name of what is diffusers'."""
    for name in options:
        if name not in Options.__annotations__:
            ours = _NAMES_OF_DIFFUSERS.get(name)
            raise MezzotintError(
                what="the keyword",
                got=name,
                expected=ours or ("count", "on_step", *sorted(Options.__annotations__)),
                advice="which is what diffusers' is called here" if ours else None,
            )


def seeds_of(given: object, count: int) -> list[int]:
    """One for each of `count` images: those after a single one, or the given ones, which have to be as many."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        _check_integer("seed", given)
        return [given + index for index in range(count)]  # type: ignore[operator]  # it is one
    for seed in given:
        _check_integer("seed", seed)
    if len(given) != count:
        raise MezzotintError(f"got {len(given)} seeds for {count} images; pass one, or as many")
    return list(given)


def batch_of(settings: Settings | Sequence[Settings]) -> tuple[Settings, ...]:
    """The settings of one run. MezzotintError for none, and for some that differ in more than prompts and seeds."""
    batch = tuple(map(_plain, (settings,) if isinstance(settings, Settings) else settings))
    if not batch:
        raise MezzotintError("got no settings; pass at least one")
    first = batch[0]
    for one in batch:
        alike = replace(one, prompt=first.prompt, negative_prompt=first.negative_prompt, seed=first.seed)
        if alike != first:
            raise MezzotintError("the settings of a batch differ in more than prompts and seeds; generate them alone")
    return batch


def _plain(settings: Settings) -> Settings:
    return replace(settings, **{name: plain(value) for name, value in vars(settings).items()})


def _negatives(given: object) -> list[str | None]:
    if given is None or isinstance(given, str) or not isinstance(given, Iterable):
        return [None] if given is None else [*_texts("negative prompt", given)]
    return [None if one is None else _texts("negative prompt", one)[0] for one in given]


def _texts(what: str, given: object) -> list[str]:
    texts = []
    for text in given if isinstance(given, Iterable) and not isinstance(given, str) else [given]:
        if not isinstance(text, str):
            raise MezzotintError(f"the {what} {text!r:.60} is {type(text).__name__}, expected text")
        texts.append(text)
    return texts


def check_settings(settings: Settings) -> None:
    """MezzotintError for a setting that no bundle could generate with; sizes and schedulers have their own checks."""
    for name in ("seed", "clip_skip"):
        _check_integer(name, getattr(settings, name))
    if settings.clip_skip < 0:
        raise MezzotintError(f"clip_skip is {settings.clip_skip}, expected 0 or more; 0 leaves out no layer")
    if settings.steps is not None:
        _check_integer("steps", settings.steps)
    if settings.guidance is not None:
        _check_finite("guidance", settings.guidance)
    _check_finite("guidance_rescale", settings.guidance_rescale)
    if abs(settings.guidance or 0.0) > MOST_GUIDANCE:
        raise MezzotintError(f"guidance is {settings.guidance:g}, expected -{MOST_GUIDANCE:g} to {MOST_GUIDANCE:g}")
    if not 0.0 <= settings.guidance_rescale <= 1.0:
        raise MezzotintError(f"guidance_rescale is {settings.guidance_rescale}, expected 0 to 1; 0 is no rescaling")
    if settings.guidance_interval is not None:
        _check_interval(settings.guidance_interval)
    if settings.cache_interval is not None:
        _check_integer("cache_interval", settings.cache_interval)
        if settings.cache_interval < 1:
            raise MezzotintError(f"cache_interval is {settings.cache_interval}, expected 1 or more; 1 caches nothing")
    if settings.prompt_syntax not in PROMPT_SYNTAXES:
        raise MezzotintError(
            f"there is no prompt syntax {settings.prompt_syntax!r:.40}; choose one of {', '.join(PROMPT_SYNTAXES)}"
        )
    for name, value in (("scheduler", settings.scheduler), ("rng", settings.rng)):
        if (name, value) != ("scheduler", None) and not isinstance(value, str):
            raise MezzotintError(f"{name} is {value!r:.40}, expected a name")
    if settings.vae_tiling not in (None, False, True):
        raise MezzotintError(f"vae_tiling is {settings.vae_tiling!r:.40}, expected true, false or none")
    _check_spaced(settings)
    if settings.strength is not None:
        _check_finite("strength", settings.strength)
        if not 0.0 < settings.strength <= 1.0:
            raise MezzotintError(f"strength is {settings.strength}, expected above 0 and at most 1; 1 keeps nothing")
    if settings.refined_from is not None:
        _check_finite("refined_from", settings.refined_from)
        if not 0.0 < settings.refined_from < 1.0:
            raise MezzotintError(f"refined_from is {settings.refined_from}, expected between 0 and 1, such as 0.8")
    _check_loras(settings.loras)
    _check_controls(settings)
    for name in MICRO_OPTIONS:
        check_micro_option(name, getattr(settings, name))


def _check_spaced(settings: Settings) -> None:
    if settings.schedule not in (None, *SPACINGS):
        raise MezzotintError(f"there is no schedule {settings.schedule!r:.40}; choose one of {', '.join(SPACINGS)}")
    if settings.eta is not None:
        _check_finite("eta", settings.eta)
        if not 0.0 <= settings.eta <= 1.0:
            raise MezzotintError(f"eta is {settings.eta}, expected 0 to 1; 0 adds no noise")


def _check_loras(loras: object) -> None:
    if not isinstance(loras, Mapping) or not all(isinstance(name, str) for name in loras):
        raise MezzotintError(f"loras is {loras!r:.40}, expected scales by name, such as {{'style': 0.8}}")
    for name, scale in loras.items():
        _check_finite(f"the scale of {name:.40}", scale)


def _check_controls(settings: Settings) -> None:
    for use in settings.controls:
        check_use(use)
    if settings.guess_mode not in (False, True):
        raise MezzotintError(what="guess_mode", got=settings.guess_mode, expected="true or false")
    if settings.guess_mode and not settings.controls:
        raise MezzotintError(
            what="guess_mode is for ControlNets", expected="controls", advice="pass some, or leave it away"
        )


def _check_integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise MezzotintError(f"{name} is {value!r:.40}, expected a whole number")


def _check_finite(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = "; 1 or less is no guidance" if name == "guidance" else ""
        raise MezzotintError(f"{name} is {value!r:.40}, expected a finite number{hint}")


def _check_interval(interval: object) -> None:
    if not isinstance(interval, tuple | list) or len(interval) != 2:
        raise MezzotintError(f"guidance_interval is {interval!r:.40}, expected two numbers, such as (0.0, 0.8)")
    for bound in interval:
        _check_finite("guidance_interval's bound", bound)
    if not 0.0 <= interval[0] < interval[1] <= 1.0:
        raise MezzotintError(
            f"guidance_interval is {interval[0]} to {interval[1]}, expected from 0 up to 1, the first below the second"
        )
