"""Which cases a benchmark compares: the reference, the controls, and the bundles."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mezzotint.adapters.given import GivenAdapter
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import Manifest, Source
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import geometry_of
from mezzotint.families.part_folders import VAE_FOLDER
from mezzotint.families.source_hash import source_sha256, weights_sha256

from .adapted import adapted, adapter_alone
from .case import REFERENCE, Case, Reading
from .workload import Workload

BF16_BASELINE = "diffusers-bf16"
FP16_BASELINES = ("diffusers-fp16", "diffusers-fp16-compile")
OTHER_SEED = "other-seed"
_PORTABLE = "portable"
_ON_GPU = tuple(engine.name for engine in ENGINES if engine.types_decide)
_SEED_OFFSET = 1_000_000  # far from every prompt's own seed


def line_up(
    checkpoint: str,
    bundles: Sequence[str],
    backends: Sequence[str] = ("onnxruntime",),
    *,
    bf16_baseline: bool = False,
    fp16_baselines: bool = False,
    other_seed: bool = True,
    stand_ins: bool = False,
    peers: Sequence[Case] = (),
    config: str | None = None,
    adapter: GivenAdapter | None = None,
    cache_intervals: Sequence[int] = (),
) -> tuple[Case, ...]:
    """All cases in the order of the report. `backends` are those that run the portable bundles.

    With `stand_ins` the graphs of bundles for a GPU run on a CPU engine, for fidelity alone.
    `config` is a folder of configs for a checkpoint in one file; what else it does not say, the first bundle does.
    With `adapter` the reference has it in its weights; MezzotintError for a bundle that has it neither there nor live.
    With `cache_intervals` each bundle that has a shallow graph runs with each of them too; MezzotintError without any.
    """
    reading = Reading(config=config) if not bundles else reading_of(Bundle.open(bundles[0]).manifest.source, config)
    if adapter is not None:
        reading = adapted(reading, adapter, bundles)
    reference = Case(REFERENCE, "baseline", checkpoint, "diffusers", "fp32", "f32", reading=reading)
    bf16 = replace(reference, name=BF16_BASELINE, recipe="bf16", precision="bf16")
    eager, compiled = (
        replace(reference, name=name, recipe=recipe, precision="f16")
        for name, recipe in zip(FP16_BASELINES, ("fp16", "compile"), strict=True)
    )
    controls = (*((bf16,) if bf16_baseline else ()), *((eager, compiled) if fp16_baselines else ()))
    candidates = [
        replace(case, reading=adapter_alone(reading))
        for bundle in bundles
        for case in bundle_cases(bundle, backends, stand_ins=stand_ins)
    ]
    candidates += _cached(candidates, cache_intervals)
    ceiling = (replace(reference, name=OTHER_SEED, seed_offset=_SEED_OFFSET),) if other_seed else ()
    return (reference, *controls, *_with_unique_names(candidates), *peers, *ceiling)


def reading_of(source: Source, config: str | None) -> Reading:
    """How the checkpoint of a bundle was read."""
    return Reading(
        config=config,
        weights=None if source.single_file is None else source.single_file.weights,
        prediction_type=None if source.prediction is None else source.prediction.type,
        preset=source.preset,
    )


def check_sources(checkpoint: Path, bundles: Sequence[Path]) -> None:
    """MezzotintError when a bundle was not made from the weights in `checkpoint`: its rows would compare two models.

    Another VAE may be in it, whose images are compared with those of the checkpoint's own.
    """
    wanted = source_sha256(checkpoint)
    for bundle in bundles:
        manifest = Bundle.open(bundle).manifest
        source = manifest.source
        _check_parts(checkpoint, bundle, manifest)
        if source.sha256 != wanted and source.sha256 != _without(checkpoint, manifest):
            variants = "".join(f", {variant} of {part}" for part, variant in source.variants.items())
            raise MezzotintError(
                f"{bundle} was made from {source.name} (weights {source.sha256[:12]}{variants}), not from {checkpoint} "
                f"(weights {wanted[:12]}); {_advice(source)}"
            )


def _check_parts(checkpoint: Path, bundle: Path, manifest: Manifest) -> None:
    for name, part in manifest.replaced.items():
        if name != VAE_FOLDER:
            raise MezzotintError(
                f"{bundle} has the {name.replace('_', ' ')} of {part.name}, and the reference would have that of "
                f"{checkpoint}; put all parts into one diffusers folder, and export that"
            )


def _without(checkpoint: Path, manifest: Manifest) -> str | None:
    """What `export --vae` says of a folder whose own VAE it did not read; None for a file, which is hashed as it is."""
    is_read_in_part = checkpoint.is_dir() and manifest.replaced
    return weights_sha256(checkpoint, without=manifest.replaced) if is_read_in_part else None


def _advice(source: Source) -> str:
    if source.variants:
        return "the reference reads the plain weights where there are some, so export without --variant"
    return "pass the checkpoint that it was made from, or export that one again"


def check_sizes(bundles: Sequence[Path], workload: Workload) -> None:
    """MezzotintError when an image of the size that was asked for cannot be generated."""
    if workload.height is None and workload.width is None:
        return
    for bundle in map(Bundle.open, bundles):
        geometry_of(bundle).latent_shape(workload.height, workload.width)


def bundle_cases(source: str, backends: Sequence[str], *, stand_ins: bool = False) -> tuple[Case, ...]:
    """A bundle lowered for a target gives one case there; a portable one a case for each of `backends`.

    Each of its profiles gives one more, "int8-openvino@fast". One with a part from elsewhere, as another VAE, or a LoRA
    has the name of its folder too: "int8-openvino@taesd". With `stand_ins` one for a GPU gives its stand-in alone.
    """
    bundle = Bundle.open(source)
    if stand_ins and bundle.manifest.target in _ON_GPU:
        return (_stand_in(source, bundle.manifest),)
    own = [_case(source, bundle.manifest, engine, None) for engine in _engines(bundle.manifest, backends)]
    for profile in bundle.manifest.profiles:
        manifest = bundle.profiled(profile).manifest
        own += [_case(source, manifest, engine, profile) for engine in _engines(manifest, backends)]
    return tuple(own)


def _cached(cases: Sequence[Case], intervals: Sequence[int]) -> list[Case]:
    """Of bundles whose denoiser has a shallow graph, what they make at each interval: "int8-openvino@cache-2"."""
    found = [case for case in cases if case.is_plain and _has_shallow(Bundle.open(case.source))]
    if intervals and (not found or min(intervals) < 2):
        raise MezzotintError(
            what="--cache-interval",
            got=list(intervals),
            expected="numbers above 1, and a bundle made with `mezzotint quantize --approximate deep-cache`",
        )
    return [
        replace(case, name=f"{case.name}@cache-{interval}", cache_interval=interval)
        for case in found
        for interval in intervals
    ]


def _has_shallow(bundle: Bundle) -> bool:
    return any(component.shallow is not None for component in bundle.manifest.components.values())


def _engines(manifest: Manifest, backends: Sequence[str]) -> tuple[str, ...]:
    return tuple(backends) if manifest.target == _PORTABLE else (manifest.target,)


def _stand_in(source: str, manifest: Manifest) -> Case:
    return replace(_case(source, manifest, manifest.target, None), kind="stand-in", backend=ONNXRUNTIME.name)


def _case(source: str, manifest: Manifest, engine: str, profile: str | None) -> Case:
    is_other = manifest.replaced or manifest.fused or manifest.live
    folder = f"@{Path(source).resolve().name}" if is_other else ""
    name = f"{manifest.recipe}-{engine}{folder}{'' if profile is None else f'@{profile}'}"
    return Case(name, "bundle", source, engine, manifest.recipe, profile=profile)


def _with_unique_names(cases: Sequence[Case]) -> list[Case]:
    """Two bundles of one recipe and target are told apart by their folders: "int8-openvino@min-max"."""
    counts = Counter(case.name for case in cases)
    named = [
        replace(case, name=f"{case.name}@{Path(case.source).resolve().name}") if counts[case.name] > 1 else case
        for case in cases
    ]
    twins = sorted(name for name, count in Counter(case.name for case in named).items() if count > 1)
    if twins:
        raise MezzotintError(f"{twins[0]} is given twice; name each bundle once, in folders of different names")
    return named
