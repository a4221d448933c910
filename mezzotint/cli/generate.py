"""`mezzotint generate`: from text alone, from an image, or into an image under a mask."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.adapters.given import parse_scales
from mezzotint.bundle.precision import Compute
from mezzotint.engines.lineup import ENGINES
from mezzotint.runtime import Settings
from mezzotint.runtime.noise.batch import RNGS
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.spacing import SPACINGS
from mezzotint.runtime.text.encoding import PROMPT_SYNTAXES

from .images import REFINE_FROM, Generated, Load, Refining, Request, generate_images
from .options import OWN, AsJson, BundlePath, Overwrite, parse_seed, pick
from .terminal import STDOUT, write_json
from .written_options import parse_controls, parse_micro

_BACKENDS = ("auto", *(engine.name for engine in ENGINES))
_SAMPLERS = tuple(sampler.name for sampler in SAMPLERS)
_SAMPLING, _IMAGE, _ENGINE = "Sampling", "From an image", "Engine"
_OUTPUT = "The image file; several images get numbers. A PNG holds its settings."
_LIKE = "A PNG that Mezzotint wrote, whose prompt and settings to take; other options override them."
_SEED = f"A whole number, or random; the same seed gives the same image (default: {Settings.seed})."
_SIZE = "In pixels; default: that of --init-image, or of the first --control, or else the model's native size."
_STEPS = f"Denoising steps; {OWN}."
_GUIDANCE = f"Guidance scale, 1 or less is none; {OWN}."
_INTERVAL = "Parts of the run, 0 to 1, between which guidance is on."
_CACHE = "Every N-th call runs the whole denoiser, others a part of it, in bundles made with --approximate deep-cache."
_PROFILE = "A profile that `mezzotint tune` wrote into the bundle; options given here come before its settings."
_RESCALE = "CFG rescale factor, 0 to 1 (Lin et al. 2024)."
_SCHEDULE = f"How noise levels are spaced; {OWN}"
_ETA = "How much noise the steps of ddim and tcd add, 0 to 1 (default: 0 and 0.3)."
_CLIP_SKIP = "Last layers of the text encoder to leave out: 1 where web interfaces say 2 (default: 0)."
_MICRO = "What SDXL is told of the image, as NAME=VALUE: original_size=768x1024 (height x width), aesthetic_score=6.5."
_LORA = "How much of a live LoRA of the bundle; repeat for several."
_CONTROL = (
    "A ControlNet or T2I-adapter of the bundle, the image it sees, how much of it, in which part of the run (0 to 1)."
)
_GUESS = "Let ControlNets say more and the prompt less, which may be empty: guidance 3 to 5 suits it."
_REFINER = "A bundle that makes the last part of each run, such as SDXL's refiner."
_REFINE_FROM = f"Part of the run, 0 to 1, from which the refiner goes on (default: {REFINE_FROM})."
_STRENGTH = "Denoising strength, 0 to 1 (default: 0.8; 1.0 with --mask)."
_PRECISION = "Arithmetic; default: what the bundle states, or f32 where bf16 is slower here"

# None is "not given": then --like decides, or the library.
Prompts = Annotated[
    list[str] | None, typer.Argument(help="What to generate; each prompt makes one image.", show_default=False)
]
OutputImage = Annotated[Path, typer.Option("-o", "--output", help=_OUTPUT)]
PromptFile = Annotated[Path | None, typer.Option(help="A file of prompts, one a line.")]
NegativePrompt = Annotated[str | None, typer.Option(help="What the image should not show.")]
Like = Annotated[Path | None, typer.Option(help=_LIKE)]
Batch = Annotated[int, typer.Option(min=1, help="Images of each prompt, with seeds from --seed on.")]
Seed = Annotated[int | None, typer.Option(parser=parse_seed, metavar="SEED", help=_SEED)]
Size = Annotated[int | None, typer.Option(help=_SIZE)]
Steps = Annotated[int | None, typer.Option(min=1, help=_STEPS, rich_help_panel=_SAMPLING)]
Guidance = Annotated[float | None, typer.Option(help=_GUIDANCE, rich_help_panel=_SAMPLING)]
Rescale = Annotated[float | None, typer.Option(help=_RESCALE, rich_help_panel=_SAMPLING)]
Interval = Annotated[tuple[float, float] | None, typer.Option(help=_INTERVAL, rich_help_panel=_SAMPLING)]
CacheInterval = Annotated[int | None, typer.Option(min=1, help=_CACHE, rich_help_panel=_SAMPLING)]
SamplerName = Annotated[str | None, pick("--scheduler", _SAMPLERS, f"Sampler; {OWN}", panel=_SAMPLING)]
Schedule = Annotated[str | None, pick("--schedule", SPACINGS, _SCHEDULE, panel=_SAMPLING)]
Eta = Annotated[float | None, typer.Option(help=_ETA, rich_help_panel=_SAMPLING)]
Rng = Annotated[str | None, pick("--rng", RNGS, "Noise generator for --seed", panel=_SAMPLING)]
Syntax = Annotated[str | None, pick("--prompt-syntax", PROMPT_SYNTAXES, "How prompts are read", panel=_SAMPLING)]
ClipSkip = Annotated[int | None, typer.Option(min=0, help=_CLIP_SKIP, rich_help_panel=_SAMPLING)]
InitImage = Annotated[Path | None, typer.Option(help="An image to start from.", rich_help_panel=_IMAGE)]
Mask = Annotated[Path | None, typer.Option(help="Inpainting mask: white is regenerated.", rich_help_panel=_IMAGE)]
Strength = Annotated[float | None, typer.Option(help=_STRENGTH, rich_help_panel=_IMAGE)]
Loras = Annotated[list[str] | None, typer.Option(metavar="NAME[:SCALE]", help=_LORA, rich_help_panel=_SAMPLING)]
Micro = Annotated[list[str] | None, typer.Option("--micro", help=_MICRO, rich_help_panel=_SAMPLING)]
Controls = Annotated[
    list[str] | None, typer.Option(metavar="NAME:IMAGE[:SCALE][:START-END]", help=_CONTROL, rich_help_panel=_SAMPLING)
]
GuessMode = Annotated[bool | None, typer.Option("--guess-mode", help=_GUESS, rich_help_panel=_SAMPLING)]
Refiner = Annotated[Path | None, typer.Option(help=_REFINER, rich_help_panel=_SAMPLING)]
RefineFrom = Annotated[float | None, typer.Option(help=_REFINE_FROM, rich_help_panel=_SAMPLING)]
ProfileName = Annotated[str | None, typer.Option(help=_PROFILE, rich_help_panel=_SAMPLING)]
Backend = Annotated[str, pick("--backend", _BACKENDS, "Engine", panel=_ENGINE)]
Precision = Annotated[str | None, pick("--precision", tuple(Compute), _PRECISION, panel=_ENGINE)]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all cores).", rich_help_panel=_ENGINE)]
VaeTiling = Annotated[
    bool | None,
    typer.Option("--vae-tiling/--no-vae-tiling", help="Decode large images in tiles.", rich_help_panel=_ENGINE),
]
LowMemory = Annotated[
    bool, typer.Option("--low-memory", help="Load each graph when it is needed.", rich_help_panel=_ENGINE)
]


def generate(
    bundle: BundlePath,
    prompt: Prompts = None,
    *,
    output: OutputImage,
    prompts: PromptFile = None,
    negative_prompt: NegativePrompt = None,
    profile: ProfileName = None,
    like: Like = None,
    batch: Batch = 1,
    seed: Seed = None,
    height: Size = None,
    width: Size = None,
    steps: Steps = None,
    guidance: Guidance = None,
    guidance_rescale: Rescale = None,
    guidance_interval: Interval = None,
    cache_interval: CacheInterval = None,
    scheduler: SamplerName = None,
    schedule: Schedule = None,
    eta: Eta = None,
    rng: Rng = None,
    prompt_syntax: Syntax = None,
    clip_skip: ClipSkip = None,
    micro: Micro = None,
    lora: Loras = None,
    control: Controls = None,
    guess_mode: GuessMode = None,
    refiner: Refiner = None,
    refine_from: RefineFrom = None,
    init_image: InitImage = None,
    mask: Mask = None,
    strength: Strength = None,
    backend: Backend = "auto",
    precision: Precision = None,
    threads: Threads = None,
    vae_tiling: VaeTiling = None,
    low_memory: LowMemory = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Generate images from a bundle, without PyTorch."""
    run = {"steps": steps, "guidance": guidance, "scheduler": scheduler, "schedule": schedule, "eta": eta}
    run |= {"cache_interval": cache_interval}
    noise_and_size = {"seed": seed, "rng": rng, "height": height, "width": width, "vae_tiling": vae_tiling}
    guided = {"guidance_rescale": guidance_rescale, "guidance_interval": guidance_interval, "loras": _scales(lora)}
    read = {"negative_prompt": negative_prompt, "prompt_syntax": prompt_syntax, "clip_skip": clip_skip}
    read |= {"guess_mode": guess_mode}
    given: dict[str, object] = {**run, **noise_and_size, **guided, **read, **parse_micro(micro or [])}
    texts, controls = tuple(prompt or ()), parse_controls(control or ())
    request = Request.read(
        texts, prompts, like, given, controls, image=init_image, mask=mask, strength=strength, count=batch
    )
    refining = Refining.read(refiner, refine_from, request)
    load = Load(
        bundle=bundle, profile=profile, backend=backend, precision=precision, threads=threads, low_memory=low_memory
    )
    _tell(generate_images(load, request, output, refining=refining, overwrite=overwrite), as_json=as_json)


def _scales(given: list[str] | None) -> dict[str, float] | None:
    """By name; None where none was given."""
    return parse_scales(given) if given else None


def _tell(generated: Generated, *, as_json: bool) -> None:
    if as_json:
        write_json(generated.record())
    else:
        STDOUT.print("\n".join(generated.lines()), markup=False)
