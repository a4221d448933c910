"""The command that draws: from text alone, from a picture, or into a picture under a mask."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from PIL import Image

from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler

from .terminal import STDERR, STDOUT, show_progress, warnings_as_lines

if TYPE_CHECKING:
    from mezzotint.runtime import Options, Result, Step
    from mezzotint.runtime.pipeline import Pipeline
    from mezzotint.runtime.result import OnStep

__all__ = ["OWN", "SAMPLERS_HELP", "generate"]

OWN = "The checkpoint's own without."
SAMPLERS_HELP = f"One of {', '.join(sampler.name for sampler in SAMPLERS)}. {OWN}"
_SIZE_HELP = "In pixels; the checkpoint's own without, or that of --init-image."


@dataclass(frozen=True)
class _Inputs:
    """What a run starts from besides the prompt; all read before any graph is loaded."""

    image: Image.Image | None
    mask: Image.Image | None
    strength: float | None

    def kind(self) -> "type[Pipeline]":
        from mezzotint.runtime import ImageToImage, Inpaint, TextToImage

        return TextToImage if self.image is None else ImageToImage if self.mask is None else Inpaint


def generate(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture; a PNG says how it was drawn.")],
    negative_prompt: Annotated[str, typer.Option(help="What not to draw.")] = "",
    prompt_syntax: Annotated[str, typer.Option(help="plain, or weighted: (word:1.3), any length.")] = "plain",
    steps: Annotated[int | None, typer.Option(min=1, help=f"Denoising steps. {OWN}")] = None,
    guidance: Annotated[float | None, typer.Option(help=f"Guidance scale; 1 or less runs without. {OWN}")] = None,
    guidance_rescale: Annotated[float, typer.Option(help="0 to 1: takes back contrast that guidance adds.")] = 0.0,
    guidance_interval: Annotated[
        tuple[float, float], typer.Option(help="The parts of the run, 0 to 1, between which guidance is on.")
    ] = (0.0, 1.0),
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same picture.")] = 0,
    rng: Annotated[str, typer.Option(help="Whose noise a seed stands for: torch (its CPU), cuda or numpy.")] = "torch",
    scheduler: Annotated[str | None, typer.Option(help=SAMPLERS_HELP)] = None,
    height: Annotated[int | None, typer.Option(help=_SIZE_HELP)] = None,
    width: Annotated[int | None, typer.Option(help=_SIZE_HELP)] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures to draw at once, with seeds from --seed on.")] = 1,
    init_image: Annotated[Path | None, typer.Option(help="A picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option(help="White where --init-image is drawn anew.")] = None,
    strength: Annotated[float | None, typer.Option(help="0 to 1: how much is drawn anew; else 0.8, or 1.")] = None,
    vae_tiling: Annotated[
        bool | None, typer.Option("--vae-tiling/--no-vae-tiling", help="Decode large pictures in tiles.")
    ] = None,
    low_memory: Annotated[bool, typer.Option("--low-memory", help="Load each graph when it is needed.")] = False,
    backend: Annotated[str, typer.Option(help="auto, openvino, onnxruntime, cuda or tensorrt.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="f32, bf16 or f16 instead of what the bundle states.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="All cores without.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Draw pictures from a bundle, without PyTorch."""
    from mezzotint.runtime import Options
    from mezzotint.runtime.images.files import check_output

    if scheduler is not None:
        find_sampler(scheduler)  # a wrong name is refused before any graph is loaded
    inputs = _read_inputs(init_image, mask, strength)
    outputs = [output] if batch == 1 else [output.with_stem(f"{output.stem}-{index}") for index in range(batch)]
    for path in outputs:
        check_output(path, overwrite=overwrite)
    pipe = inputs.kind().load(bundle, backend=backend, precision=precision, threads=threads, low_memory=low_memory)
    if backend == "auto":
        STDERR.print(f"backend {pipe.backend}: {pipe.choice.reason}")
    options = Options(
        negative_prompt=negative_prompt,
        steps=steps,
        guidance=guidance,
        seed=seed,
        scheduler=scheduler,
        height=height,
        width=width,
        guidance_rescale=guidance_rescale,
        guidance_interval=guidance_interval,
        prompt_syntax=prompt_syntax,
        rng=rng,
        vae_tiling=vae_tiling,
    )
    result = _draw_with_progress(pipe, inputs, prompt, batch, options)
    for index, path in enumerate(outputs):
        result.write(path, index, overwrite=overwrite)
    STDOUT.print(f"wrote {', '.join(map(str, outputs))} in {result.timings.total_ms / 1e3:.2f} s")


def _read_inputs(image: Path | None, mask: Path | None, strength: float | None) -> _Inputs:
    from mezzotint.runtime.images.files import read_image

    if image is None and (mask is not None or strength is not None):
        raise MezzotintError("--mask and --strength need a picture to start from; pass --init-image FILE")
    images = [None if path is None else read_image(path) for path in (image, mask)]
    return _Inputs(images[0], images[1], strength)


def _draw_with_progress(pipe: "Pipeline", inputs: _Inputs, prompt: str, batch: int, options: "Options") -> "Result":
    with show_progress() as progress, warnings_as_lines():

        def on_step(step: "Step") -> None:
            progress("drawing", step.index + 1, step.steps)

        return _draw(pipe, inputs, prompt, batch, on_step, options)


def _draw(
    pipe: "Pipeline", inputs: _Inputs, prompt: str, batch: int, on_step: "OnStep", options: "Options"
) -> "Result":
    from mezzotint.runtime import ImageToImage, Inpaint, TextToImage

    image, mask, strength = inputs.image, inputs.mask, inputs.strength
    if isinstance(pipe, ImageToImage) and image is not None:
        strength = 0.8 if strength is None else strength
        return pipe(prompt, image, strength=strength, count=batch, on_step=on_step, **options)
    if isinstance(pipe, Inpaint) and image is not None and mask is not None:
        strength = 1.0 if strength is None else strength
        return pipe(prompt, image, mask, strength=strength, count=batch, on_step=on_step, **options)
    return TextToImage.sharing(pipe)(prompt, count=batch, on_step=on_step, **options)
