"""What `mezzotint generate` does: settings from options and from another image, and a call for each prompt."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from PIL import Image

from mezzotint.errors import MezzotintError
from mezzotint.runtime import (
    ImageToImage,
    Inpaint,
    Options,
    Refine,
    Result,
    Settings,
    Step,
    TextToImage,
    Timings,
    read_origin,
    read_settings,
)
from mezzotint.runtime.denoising import settled
from mezzotint.runtime.images.files import check_output, read_image
from mezzotint.runtime.pipeline import Pipeline
from mezzotint.runtime.result import OnStep
from mezzotint.runtime.settings import settings_of_batch
from mezzotint.runtime.text.prompts import read_prompts

from .terminal import STDERR, show_progress, warnings_as_lines
from .written_options import WrittenControl, followed_controls

REFINE_FROM = 0.8  # as SDXL's refiner was trained for


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to generate, read from every file that it names before any graph is loaded. `count` images a prompt."""

    prompts: tuple[str, ...]
    options: Options
    like: Path | None = None
    image: Image.Image | None = None
    mask: Image.Image | None = None
    strength: float | None = None
    refined_from: float | None = None  # in the image `like`
    count: int = 1

    @classmethod
    def read(
        cls,
        prompts: tuple[str, ...],
        prompt_file: Path | None,
        like: Path | None,
        given: Mapping[str, object],
        controls: Sequence[WrittenControl],
        *,
        image: Path | None,
        mask: Path | None,
        strength: float | None,
        count: int,
    ) -> "Request":
        """From options; of those `given` as None, the settings of the image `like` decide, or the library.

        MezzotintError where a file cannot be read, and where options lack one another.
        """
        settings: dict[str, Any] = {} if like is None else asdict(read_settings(like))
        texts = (*prompts, *(() if prompt_file is None else read_prompts(prompt_file)))
        liked = (str(settings.pop("prompt")),) if settings else ()
        if not texts and not liked:
            raise MezzotintError(what="got no prompt", advice="pass one, or --prompts FILE, or --like IMAGE")
        followed = followed_controls(like, settings.pop("controls", ()), controls)
        liked_strength, refined_from = settings.pop("strength", None), settings.pop("refined_from", None)
        is_liked = strength is None and liked_strength is not None
        strength = liked_strength if strength is None else strength
        _check_inputs(image, mask, strength, like if is_liked else None)
        options = settings | {name: value for name, value in given.items() if value is not None} | followed
        return cls(
            prompts=texts or liked,
            options=cast(Options, options),
            like=like,
            image=None if image is None else read_image(image),
            mask=None if mask is None else read_image(mask),
            strength=strength,
            refined_from=refined_from,
            count=count,
        )

    @property
    def seed(self) -> int:
        """Of the first image; those after it have the numbers after it."""
        seed = self.options.get("seed", Settings.seed)
        assert isinstance(seed, int)  # the command line takes one
        return seed

    def leading_image(self) -> Image.Image | None:
        """The one whose size is that of what is generated, where no size was given."""
        controls = self.options.get("controls", ())
        return self.image if self.image is not None or not controls else controls[0].seen()

    def kind(self) -> type[Pipeline]:
        """The kind of pipeline that it needs."""
        return TextToImage if self.image is None else ImageToImage if self.mask is None else Inpaint


def _check_inputs(image: Path | None, mask: Path | None, strength: float | None, like: Path | None) -> None:
    if image is None and like is not None:
        raise MezzotintError(
            where=like, what="this image was made from another one", advice="pass that one with --init-image"
        )
    if image is None and (mask is not None or strength is not None):
        raise MezzotintError(what="--mask and --strength need an image to start from", advice="pass --init-image FILE")


@dataclass(frozen=True, kw_only=True)
class Load:
    """The bundle, and how to open it; see `Pipeline.load`."""

    bundle: Path
    backend: str
    precision: str | None
    threads: int | None
    low_memory: bool
    profile: str | None = None
    once: bool = False
    cache_interval: int | None = None

    def pipeline(self, kind: type[Pipeline]) -> Pipeline:
        """Opened; where nobody chose the engine, stderr says which and why."""
        pipe = kind.load(
            self.bundle,
            profile=self.profile,
            backend=self.backend,
            precision=self.precision,
            threads=self.threads,
            low_memory=self.low_memory,
            once=self.once,
            cache_interval=self.cache_interval,
        )
        if self.backend == "auto":
            STDERR.print(f"backend {pipe.backend}: {pipe.choice.reason}", markup=False)
        return pipe


@dataclass(frozen=True, kw_only=True)
class Refining:
    """The bundle that goes on from the part `at` of each run."""

    bundle: Path
    at: float

    def open(self, load: Load) -> "_Refiner":
        """Opened as the bundle that begins is."""
        pipe = replace(load, bundle=self.bundle, profile=None).pipeline(Refine)
        assert isinstance(pipe, Refine)  # as it was asked for
        return _Refiner(pipe, self.at)

    @classmethod
    def read(cls, bundle: Path | None, at: float | None, request: Request) -> "Refining | None":
        """From options, and from the settings of the image `like`; MezzotintError where they lack one another."""
        liked = request.refined_from
        if bundle is None and (at is not None or liked is not None):
            what = (
                "--refine-from needs a refiner" if liked is None else f"{request.like} was finished by another bundle"
            )
            raise MezzotintError(what=what, advice="pass --refiner BUNDLE")
        if bundle is not None and request.image is not None:
            raise MezzotintError(
                what="--refiner goes on from text, not from an image", advice="leave --init-image away"
            )
        part = next((one for one in (at, liked) if one is not None), REFINE_FROM)  # 0 is one, and is refused
        return None if bundle is None else cls(bundle=bundle, at=part)


@dataclass(frozen=True)
class _Refiner:
    pipe: Refine
    at: float

    def generate(self, base: TextToImage, prompt: str, count: int, options: Options, on_step: OnStep) -> Result:
        """A run of both bundles; what is said of the image's beauty is for the refiner alone."""
        started = time.perf_counter()
        scores = {name: value for name, value in options.items() if name.endswith("aesthetic_score")}
        others = {name: value for name, value in options.items() if name not in scores}
        first = settings_of_batch(prompt, count, cast(Options, others))[0]
        self.pipe.check(settled(first, base.sampling(first)))  # before the minutes that the base takes
        begun = base.hand_over(prompt, at=self.at, count=count, on_step=on_step, **cast(Options, others))
        result = self.pipe(begun, on_step=on_step, **cast(Options, scores))
        elapsed_ms = (time.perf_counter() - started) * 1e3
        return replace(result, timings=replace(result.timings, total_ms=elapsed_ms))


@dataclass(frozen=True)
class Generated:
    """The files that were written, with the settings of each, and the timings of each call."""

    backend: str
    precision: str
    paths: tuple[Path, ...]
    settings: tuple[Settings, ...]
    timings: tuple[Timings, ...]

    def lines(self) -> list[str]:
        """For a reader: one line, or for several images one each."""
        seconds = sum(timings.total_ms for timings in self.timings) / 1e3
        if len(self.paths) == 1:
            return [f"wrote {self.paths[0]} in {seconds:.2f} s, seed {self.settings[0].seed}"]
        images = [f"{path}: seed {one.seed}" for path, one in zip(self.paths, self.settings, strict=True)]
        return [*images, f"wrote {', '.join(map(str, self.paths))} in {seconds:.2f} s"]

    def record(self) -> dict[str, Any]:
        """For a program."""
        images = [
            {"path": str(path), "seed": one.seed, "settings": asdict(one)}
            for path, one in zip(self.paths, self.settings, strict=True)
        ]
        timings = [asdict(timings) for timings in self.timings]
        return {"backend": self.backend, "precision": self.precision, "images": images, "timings": timings}


def generate_images(
    load: Load, request: Request, output: Path, *, refining: Refining | None = None, overwrite: bool
) -> Generated:
    """Generate and write every image of `request`, one call a prompt; image i has the seed `seed + i`."""
    count = len(request.prompts) * request.count
    paths = [output] if count == 1 else [output.with_stem(f"{output.stem}-{index}") for index in range(count)]
    for path in paths:
        check_output(path, overwrite=overwrite)
    load = replace(load, cache_interval=request.options.get("cache_interval"))
    load = replace(load, once=len(request.prompts) == 1)  # so that the decoder has the room of the denoiser
    pipe = load.pipeline(request.kind())
    refiner = None if refining is None else refining.open(load)
    _tell_other_weights(request.like, pipe)
    _tell_size(request, pipe)
    results: list[Result] = []
    with show_progress() as progress, warnings_as_lines():
        for index, prompt in enumerate(request.prompts):
            place = f" ({index + 1} of {len(request.prompts)})" if len(request.prompts) > 1 else ""

            def on_step(step: Step, what: str = f"generating{place}") -> None:
                progress(what, step.index + 1, step.steps)

            seed = request.seed + index * request.count
            options: Options = {**request.options, "seed": seed}
            if refiner is None:
                result = _generate(pipe, request, prompt, options, on_step)
            else:
                result = refiner.generate(TextToImage.sharing(pipe), prompt, request.count, options, on_step)
            for place_in_call in range(request.count):
                path = paths[index * request.count + place_in_call]
                result.write(path, place_in_call, overwrite=overwrite)
            results.append(result)
    settings = tuple(one for result in results for one in result.settings)
    return Generated(pipe.backend, pipe.precision, tuple(paths), settings, tuple(result.timings for result in results))


def _generate(pipe: Pipeline, request: Request, prompt: str, options: Options, on_step: OnStep) -> Result:
    image, mask, strength = request.image, request.mask, request.strength
    if isinstance(pipe, ImageToImage) and image is not None:
        strength = 0.8 if strength is None else strength
        return pipe(prompt, image, strength=strength, count=request.count, on_step=on_step, **options)
    if isinstance(pipe, Inpaint) and image is not None and mask is not None:
        strength = 1.0 if strength is None else strength
        return pipe(prompt, image, mask, strength=strength, count=request.count, on_step=on_step, **options)
    return TextToImage.sharing(pipe)(prompt, count=request.count, on_step=on_step, **options)


def _tell_size(request: Request, pipe: Pipeline) -> None:
    """A photograph's own size may take hours, where the model's takes seconds."""
    image = request.leading_image()
    native = pipe.geometry.native_side_pixels
    if image is None or {"height", "width"} & set(request.options) or min(image.size) < pipe.geometry.vae_factor:
        return  # nothing was left open, or what is too small is going to be refused
    if image.width * image.height <= native**2:
        return
    size, own = f"{image.width}x{image.height}", f"{native}x{native}"
    STDERR.print(
        f"note: {size} pixels, as the image given has; the model's own size is {own}: see --height and --width"
    )


def _tell_other_weights(like: Path | None, pipe: Pipeline) -> None:
    """The same settings give another image on other weights, which is no fault, and worth a line."""
    if like is not None and read_origin(like).model_sha256 != pipe.bundle.manifest.source.sha256:
        STDERR.print(f"note: {like} was made from other weights than {pipe.bundle.path}", markup=False)
