"""`mezzotint quantize`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.decisions import DECISIONS_FILE, read_decisions
from mezzotint.engines.lineup import ENGINES
from mezzotint.errors import MezzotintError
from mezzotint.quantize.decide.recipe import RECIPES
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.spacing import SPACINGS
from mezzotint.runtime.text.prompts import read_prompts

from .inspect import declined_lines
from .lines.compiled_text import compiled_lines
from .options import OWN, SIZE_HELP, AsJson, BundlePath, Overwrite, parse_pairs, pick
from .terminal import STDERR, STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

if TYPE_CHECKING:
    from mezzotint.quantize import CalibrationSettings
    from mezzotint.quantize.decide.four_bits import FourBitSettings

_RECIPES = tuple(recipe.name for recipe in RECIPES)
_TARGETS = ("auto", *(engine.name for engine in ENGINES))
_SAMPLERS = tuple(sampler.name for sampler in SAMPLERS)
_CALIBRATION = "Calibration"
_PROMPTS = "Calibration prompts, one a line; default: 256 general ones that come with the package."
_TRAJECTORIES = "Number of calibration prompts, sampled evenly from --prompts."
_STEPS = "Minimum denoising steps recorded per prompt; all prompts together cover every step."
_OUTPUT = "Where the result goes; not needed for --dry-run."
_TARGET = "The engine that is to run the bundle; auto takes the fastest here"
_SCHEDULE = f"Steps of the schedule; {OWN}."
_SAMPLES = "Denoiser calls used for activation statistics."
_VERBOSE = "Say on stderr what became of the nodes, what rewrites declined, and why."
_FLOOR = "Leave nodes out of INT8 until the output reaches this many dB."
_COSTS = "File of measured times for --min-sqnr-db; what it lacks is added."
_SPLIT = "INT8 for shortcut convolutions too, split by channel range."
_ATTENTION = "INT8 for the scores of self-attention too, or floats; default: INT8 on openvino."
_LESS = (
    "Let the denoiser compute less than its source: pooled-keys, deep-cache or deep-cache:LAYERS; may be given again."
)
_SKIP = "Leave out an exact graph pass, such as upsample-conv; may be given again."
_GROUP = "Of int4-weights: how many input channels share a scale, 16 to 256; default: 32."
_RANK = "Of int4-weights: rank of a 16-bit branch beside each linear that corrects the rounding; default: none."
_BASE = "Of a refiner: the bundle whose runs it finishes, to calibrate on; default: noised images."
_MEMORY = "Most memory that collecting statistics may take, such as 6GB; slower."

OutputFolder = Annotated[Path | None, typer.Option("-o", "--output", help=_OUTPUT)]
RecipeName = Annotated[str, pick("--recipe", _RECIPES, "What the weights and activations become")]
TargetName = Annotated[str, pick("--target", _TARGETS, _TARGET)]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="COMPONENT=SCHEME, such as vae_decoder=int8.")]
Prompts = Annotated[Path | None, typer.Option(help=_PROMPTS, rich_help_panel=_CALIBRATION)]
Steps = Annotated[int | None, typer.Option(min=1, help=_SCHEDULE, rich_help_panel=_CALIBRATION)]
Guidance = Annotated[float | None, typer.Option(min=0.0, help=f"Guidance scale; {OWN}.", rich_help_panel=_CALIBRATION)]
Scheduler = Annotated[str | None, pick("--scheduler", _SAMPLERS, f"Sampler; {OWN}", panel=_CALIBRATION)]
Schedule = Annotated[str | None, pick("--schedule", SPACINGS, f"Spacing; {OWN}", panel=_CALIBRATION)]
Size = Annotated[int | None, typer.Option(help=SIZE_HELP, rich_help_panel=_CALIBRATION)]
Trajectories = Annotated[int, typer.Option(min=1, help=_TRAJECTORIES, rich_help_panel=_CALIBRATION)]
StepsPerPrompt = Annotated[int, typer.Option(min=1, help=_STEPS, rich_help_panel=_CALIBRATION)]
Samples = Annotated[int, typer.Option(min=1, help=_SAMPLES, rich_help_panel=_CALIBRATION)]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the calibration.", rich_help_panel=_CALIBRATION)]
Base = Annotated[Path | None, typer.Option(help=_BASE, rich_help_panel=_CALIBRATION)]
MemoryLimit = Annotated[str | None, typer.Option(help=_MEMORY, rich_help_panel=_CALIBRATION)]
Attention = Annotated[bool | None, typer.Option("--int8-attention/--no-int8-attention", help=_ATTENTION)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and estimate time and memory.")]
Verbose = Annotated[bool, typer.Option("--verbose", help=_VERBOSE)]


def quantize(
    bundle: BundlePath,
    output: OutputFolder = None,
    recipe: RecipeName = "int8",
    target: TargetName = "auto",
    set_: Overrides = None,
    prompts: Prompts = None,
    steps: Steps = None,
    guidance: Guidance = None,
    scheduler: Scheduler = None,
    schedule: Schedule = None,
    height: Size = None,
    width: Size = None,
    trajectories: Trajectories = 32,
    steps_per_prompt: StepsPerPrompt = 12,
    samples: Samples = 128,
    seed: Seed = 0,
    base: Base = None,
    memory_limit: MemoryLimit = None,
    min_sqnr_db: Annotated[float | None, typer.Option(help=_FLOOR)] = None,
    costs: Annotated[Path | None, typer.Option(help=_COSTS)] = None,
    split_shortcuts: Annotated[bool, typer.Option("--split-shortcuts", help=_SPLIT)] = False,
    int8_attention: Attention = None,
    approximate: Annotated[list[str] | None, typer.Option("--approximate", help=_LESS)] = None,
    skip_pass: Annotated[list[str] | None, typer.Option("--skip-pass", help=_SKIP)] = None,
    int4_group: Annotated[int | None, typer.Option(help=_GROUP)] = None,
    int4_rank: Annotated[int | None, typer.Option(help=_RANK)] = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Quantize an FP32 bundle for an engine."""
    from mezzotint.quantize import CalibrationSettings, quantize_bundle

    overrides = parse_pairs("--set", set_ or [], "vae_decoder=fp16")
    settings = CalibrationSettings.of(Bundle.open(bundle), scheduler, steps, guidance, schedule)
    settings = replace(settings, trajectories=trajectories, calls=samples, seed=seed, visits=steps_per_prompt)
    settings, texts = replace(settings, height=height, width=width), _texts(prompts)
    target, finer = _named_target(bundle, recipe, target, overrides), _four_bits(int4_group, int4_rank)
    asked: dict[str, Any] = {"recipe": recipe, "target": target, "overrides": overrides, "prompts": texts}
    asked |= {"min_sqnr_db": min_sqnr_db, "costs": costs, "split_shortcuts": split_shortcuts, "base": base}
    asked |= {"attends_in_int8": int8_attention, "approximations": approximate or (), "skip_passes": skip_pass or ()}
    asked |= {"four_bits": finer}
    limit_bytes = _bytes_of(memory_limit)
    if dry_run:
        return _show_plan(bundle, asked, settings, as_json=as_json)
    with show_progress() as progress, warnings_as_lines():
        result = quantize_bundle(
            *(bundle, _named_output(output)),
            **asked,
            settings=settings,
            memory_limit_bytes=limit_bytes,
            overwrite=overwrite,
            progress=progress,
        )
    return _show_result(result, verbose=verbose, as_json=as_json)


def _named_target(bundle: Path, recipe: str, target: str, overrides: Mapping[str, str]) -> str:
    """The target's name; what "auto" stands for here is said on stderr with its reason."""
    from mezzotint.quantize.decide.recipe import find_recipe
    from mezzotint.quantize.lower.auto_target import choose_target

    if target != "auto":
        return target
    choice = choose_target(Bundle.open(bundle), find_recipe(recipe), overrides)
    STDERR.print(f"target {choice.target.name}: {choice.reason}", markup=False)
    return choice.target.name


def _four_bits(group: int | None, rank: int | None) -> "FourBitSettings | None":
    """None where neither was given; MezzotintError for values that cannot be."""
    from mezzotint.quantize.decide.four_bits import FourBitSettings

    given = {name: value for name, value in (("group", group), ("rank", rank)) if value is not None}
    return FourBitSettings(**given) if given else None


def _texts(prompts: Path | None) -> list[str] | None:
    return None if prompts is None else list(read_prompts(prompts))


def _bytes_of(memory_limit: str | None) -> int | None:
    from mezzotint.quantize.calibrate.memory_limit import parse_bytes

    return None if memory_limit is None else parse_bytes(memory_limit)


def _named_output(output: Path | None) -> Path:
    if output is None:
        raise MezzotintError(
            what="no output was named", advice="pass -o FOLDER, or --dry-run to see what would be done"
        )
    return output


def _tell_declined(bundle: Bundle, *, verbose: bool) -> None:
    """On stderr: what graph rewrites left as it was; with `verbose` each place and each node's decision."""
    declined = declined_lines(bundle)
    if verbose:
        _tell_decisions(bundle)
        STDERR.print("\n".join(declined) or "no graph rewrite declined anything", markup=False)
    elif declined:
        STDERR.print(f"graph rewrites left {len(declined)} places as they were; --verbose and `inspect` say why")


def _show_plan(path: Path, asked: Mapping[str, Any], settings: "CalibrationSettings", *, as_json: bool) -> None:
    """Two short runs and some counting, of what a run would not refuse."""
    from mezzotint.quantize.estimate import plan_quantization
    from mezzotint.quantize.request import Request, settle

    bundle = Bundle.open(path)
    settled = settle(bundle, Request(**asked), settings)
    with show_progress() as progress, warnings_as_lines():
        plan = plan_quantization(
            bundle, settled, settings, is_searched=asked["min_sqnr_db"] is not None, progress=progress
        )
    if as_json:
        write_json({**asdict(plan), "seconds": plan.seconds, "is_estimate": True})
        return
    STDOUT.print(f"recipe {plan.recipe}, target {plan.target}; nothing was written")
    STDOUT.print(f"calibration: {plan.calibration}, about {_duration(plan.calibration_seconds)}")
    for one in plan.components:
        size = f"{one.bytes_before / 1e6:.1f} -> about {one.bytes_after / 1e6:.1f} MB"
        STDOUT.print(f"{one.name}: {one.storage}, {size}, {one.work}, about {_duration(one.seconds)}")
    STDOUT.print(
        f"estimate: {_duration(plan.seconds)} and {plan.peak_bytes / 1e9:.1f} GB of memory, from a denoiser step of "
        f"{plan.step_seconds:.3g} s measured here; less where the cache has parts of it"
    )


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _tell_decisions(bundle: Bundle) -> None:
    """For each component that has decisions: how many nodes each rule sent where."""
    for name in bundle.manifest.components:
        path = bundle.path / name / DECISIONS_FILE
        if path.is_file():
            counts = Counter((one.scheme, one.rule) for one in read_decisions(path).values())
            for (scheme, rule), count in counts.most_common():
                STDERR.print(f"{name}: {count} nodes {scheme}: {rule}", markup=False)


def _show_result(bundle: Bundle, *, verbose: bool, as_json: bool) -> None:
    _tell_declined(bundle, verbose=verbose)
    if as_json:
        write_json(bundle_json(bundle))
        return
    for name, component in bundle.manifest.components.items():
        parity = component.parity
        figure = "not checked" if parity is None else "identical" if parity.identical else f"{parity.sqnr_db} dB"
        size = sum(entry.bytes for entry in component.files) / 1e6
        STDOUT.print(
            f"{name}: {component.storage}, computes in {component.compute}, {size:.1f} MB, {figure} against FP32"
        )
        if component.float32_weights:
            STDOUT.print(f"  in float32, beyond what FP16 can hold: {', '.join(component.float32_weights)}")
        for line in compiled_lines(component):
            STDOUT.print(f"  {line}", markup=False)
    STDOUT.print(f"wrote {bundle.path}")
