"""What an image file says of how it was generated, in two texts: chunks of a PNG, EXIF of a JPEG or WebP.

`parameters` is the line format that AUTOMATIC1111's interface writes and that most galleries read. `mezzotint` is JSON
with every setting; `read_settings` reads it back, and the settings generate the image again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mezzotint import __version__
from mezzotint.bundle.manifest import Manifest
from mezzotint.errors import MezzotintError

from .control_use import parse_uses
from .images.embedded_text import PARAMETERS, RECORD, embedded_texts
from .images.files import ImageSource, name_of, open_image
from .micro_conditioning import MICRO_PAIRS
from .settings import Settings, check_settings

_PAIRS = ("guidance_interval", *MICRO_PAIRS)
_SAMPLER_NAMES = {  # as AUTOMATIC1111's interface spells them; others keep their name here
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "pndm": "PLMS",
    "lms": "LMS",
    "euler": "Euler",
    "euler-ancestral": "Euler a",
    "heun": "Heun",
    "dpmpp-2m": "DPM++ 2M",
    "dpmpp-2m-sde": "DPM++ 2M SDE",
    "dpmpp-2s": "DPM++ 2S",
    "unipc": "UniPC",
    "deis": "DEIS",
    "lcm": "LCM",
    "tcd": "TCD",
}
_SCHEDULE_NAMES = {"karras": "Karras", "exponential": "Exponential", "beta": "Beta", "sgm_uniform": "SGM Uniform"}


_WHERE_THERE_IS_ONE = {"replaced"}  # of an origin: others have no such entry


@dataclass(frozen=True)
class Origin:
    """What an image came from: the checkpoint's name and hash, the bundle's recipe and target, engine, arithmetic."""

    model: str
    model_sha256: str
    recipe: str
    target: str
    backend: str
    precision: str
    version: str  # of Mezzotint
    replaced: str = ""  # what is not the checkpoint's own: "vae taesd 0123456789", with their hashes' beginnings

    @classmethod
    def of(cls, manifest: Manifest, backend: str, precision: str) -> "Origin":
        """Of images of a bundle with that manifest, by this version."""
        others = [f"{part} {one.name} {one.sha256[:10]}" for part, one in manifest.replaced.items()]
        others += [f"{one.name} at {one.scale:g} {one.sha256[:10]}" for one in manifest.fused]
        source, replaced = manifest.source, "; ".join(others)
        made = (manifest.recipe, manifest.target, backend, precision, __version__)
        return cls(source.name, source.sha256, *made, replaced)


def text_chunks(settings: Settings, origin: Origin) -> dict[str, str]:
    """The two texts of an image's file."""
    told = {name: value for name, value in asdict(origin).items() if value or name not in _WHERE_THERE_IS_ONE}
    record = {"settings": asdict(settings), "origin": told}
    return {PARAMETERS: _parameters(settings, origin), RECORD: json.dumps(record, sort_keys=True)}


def read_settings(source: ImageSource) -> Settings:
    """The settings that an image of ours was generated with; `pipe.generate(settings)` generates it again.

    Raises MezzotintError for a file without them, or with settings that are unknown, mistyped or out of range.
    """
    return parse_settings(_record(source), name_of(source))


def read_origin(source: ImageSource) -> Origin:
    """What generated an image of ours. Raises MezzotintError as `read_settings` does."""
    path = name_of(source)
    values = _section(_record(source), "origin", path)
    known = {field.name for field in fields(Origin)}
    if set(values) | _WHERE_THERE_IS_ONE != known or not all(isinstance(value, str) for value in values.values()):
        raise MezzotintError(f"{path}: origin has {sorted(values)}, expected texts for {sorted(known)}")
    return Origin(**values)


def _parameters(settings: Settings, origin: Origin) -> str:
    values: dict[str, object] = {
        "Steps": settings.steps,
        "Sampler": _SAMPLER_NAMES.get(str(settings.scheduler), settings.scheduler),
        **_spaced(settings),
        "CFG scale": f"{settings.guidance:g}",
        "Seed": settings.seed,
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": origin.model_sha256[:10],
        "Model": _quoted(origin.model),
    }
    if origin.replaced:
        values["Replaced"] = _quoted(origin.replaced)
    if settings.strength is not None:
        values["Denoising strength"] = f"{settings.strength:g}"
    if settings.guidance_rescale:
        values["CFG Rescale"] = f"{settings.guidance_rescale:g}"
    if settings.cache_interval not in (None, 1):
        values["Cache interval"] = settings.cache_interval
    if settings.clip_skip:
        values["Clip skip"] = settings.clip_skip + 1  # that interface counts the last layer: 1 is all of them
    for index, use in enumerate(settings.controls):
        values[f"ControlNet {index}"] = _quoted(
            f"Model: {use.name}, Weight: {use.scale:g}, Guidance Start: {use.start:g}, Guidance End: {use.end:g}"
        )
    values["RNG"] = {"torch": "CPU", "cuda": "GPU"}.get(settings.rng, settings.rng)
    values["Version"] = f"Mezzotint {origin.version}"
    lines = [settings.prompt]
    if settings.negative_prompt:
        lines.append(f"Negative prompt: {settings.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in values.items()))
    return "\n".join(lines)


def _spaced(settings: Settings) -> dict[str, object]:
    values: dict[str, object] = {}
    if settings.schedule is not None:
        values["Schedule type"] = _SCHEDULE_NAMES.get(settings.schedule, settings.schedule)
    if settings.eta is not None:
        values["Eta DDIM" if settings.scheduler == "ddim" else "Eta"] = f"{settings.eta:g}"
    return values


def _quoted(text: str) -> str:
    """In quotes where a reader would otherwise see the next value begin."""
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ',:\n"') else text


def _record(source: ImageSource) -> Mapping[str, Any]:
    path = name_of(source)
    with open_image(source) as image:
        text = embedded_texts(image).get(RECORD)
    if text is None:
        raise MezzotintError(f"{path} does not say how it was generated; expected an image that Mezzotint wrote")
    return parse_record_text(text, path)


def parse_record_text(text: str, path: str) -> Mapping[str, Any]:
    """The JSON object of a `mezzotint` text; MezzotintError, which calls the file `path`, for what is none."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MezzotintError(f"{path} says how it was generated in broken JSON ({error}); it was changed") from None
    if not isinstance(record, dict):
        raise MezzotintError(f"{path} says how it was generated in a {type(record).__name__}, expected an object")
    return record


def _section(record: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    values = record.get(name)
    if not isinstance(values, dict):
        raise MezzotintError(f"{path}: {name} is {values!r:.60}, expected an object; the file was changed")
    return values


def parse_settings(record: Mapping[str, Any], path: str) -> Settings:
    """The settings of a `mezzotint` record. Raises MezzotintError as `read_settings` does."""
    values = _section(record, "settings", path)
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown or "prompt" not in values:
        wrong = f"the unknown setting {unknown[0]!r:.40}" if unknown else "no prompt"
        raise MezzotintError(f"{path} has {wrong}; expected what this version of Mezzotint writes")
    pairs = {name: tuple(values[name]) for name in _PAIRS if isinstance(values.get(name), list)}  # JSON has no tuples
    uses = parse_uses(values.get("controls", ()), path)
    settings = Settings(**values | pairs | {"controls": uses})
    negative = () if settings.negative_prompt is None else (settings.negative_prompt,)
    names = (settings.scheduler or "", settings.schedule or "", settings.prompt_syntax, settings.rng)
    texts = (settings.prompt, *negative, *names)
    if not all(isinstance(text, str) for text in texts):
        raise MezzotintError(f"{path} has a prompt or a name that is no text; the file was changed")
    check_settings(settings)
    return settings
