"""`mezzotint quantize`: an FP32 bundle, a recipe and a target in, a smaller bundle out."""

import importlib.metadata
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import Bundle, write_manifest
from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.decisions import DECISIONS_FILE, Decisions, write_decisions
from mezzotint.bundle.declined import DECLINED_FILE, Declines, joined, write_declines
from mezzotint.bundle.folded import FOLDED_FILE, Folded, write_folded
from mezzotint.bundle.four_bit_record import FourBitRecord
from mezzotint.bundle.manifest import MANIFEST_NAME, Component
from mezzotint.bundle.precision import BY_NODE, INTEGERS, Compute, Storage
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.mapped_files import dropping_mapped_pages
from mezzotint.families.family import Guidance, Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from .calibrate.calibrate import calibrate
from .calibrate.data import CalibrationData
from .calibrate.run import CalibrationRun
from .calibrate.trajectories import CalibrationSettings
from .decide.four_bits import FourBitSettings
from .decide.half_fallback import with_fallbacks
from .decide.integer import IntegerPlan, decide_and_rewrite
from .decide.method import FLOAT8_RANGES, RECIPE_METHOD, Method
from .decide.recipe import Recipe
from .graphs.graph_file import load_graph
from .lower.half_target import convert_to_half
from .lower.target import Fit, Target
from .lower.weight_only import ALL_WEIGHTS, NNCF_WEIGHTS
from .passes.approximations import NOTHING, Approximations
from .passes.contract import Pass, Rewritten, run_passes
from .passes.half import kept_in_float32
from .request import LastPasses, Request, settle
from .save_component import save_component
from .search.costs import Costs
from .search.search import search_exclusions
from .store_four_bits import store_four_bits
from .verify.audit import audit_bundle, check_coverage
from .verify.compile_bundle import note_compiled
from .verify.parity import measure_parity

_REWRITTEN = (Storage.FLOAT16, *INTEGERS)  # by exact passes, and whatever goes before lowering
_TOOLS = ("mezzotint", "onnx", "onnx-ir", "nncf")


@dataclass(frozen=True)
class _Job:
    """What all components share."""

    bundle: Bundle
    recipe: Recipe
    storages: Mapping[str, Storage]  # by component
    target: Target
    data: CalibrationData
    run: CalibrationRun
    method: Method
    last: LastPasses
    approximations: Approximations  # of the denoiser
    min_sqnr_db: float | None
    costs: Costs
    four_bits: FourBitSettings


def quantize_bundle(
    source: Path,
    output: Path,
    *,
    recipe: str,
    target: str,
    prompts: Sequence[str] | None = None,
    overrides: Mapping[str, str] | None = None,
    settings: CalibrationSettings | None = None,
    min_sqnr_db: float | None = None,
    costs: Path | None = None,
    memory_limit_bytes: int | None = None,
    split_shortcuts: bool = False,
    attends_in_int8: bool | None = None,
    skip_passes: Collection[str] = (),
    approximations: Sequence[str] = (),
    base: Path | None = None,
    four_bits: FourBitSettings | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Quantize the FP32 bundle at `source` into a new one at `output`.

    `prompts` are the calibration prompts, which components in 8 and 4 bits and FP16 on a GPU need; None is the list
    that comes with the package. `overrides` maps components to schemes; `min_sqnr_db` takes nodes out of INT8 until the
    component's output reaches it on the target, by the times in the file `costs` (None: the one in the user's cache
    folder), which gets those that it lacks. `memory_limit_bytes` makes calibration look at fewer tensors at a time, to
    the same result; `split_shortcuts` puts shortcut convolutions of concatenations into INT8, split by channel range,
    `attends_in_int8` computes the scores of self-attention in S8 (None: where the target can), `skip_passes` are exact
    passes to leave out, `approximations` what lets the denoiser compute something else, and less. `base` is the
    bundle whose runs a refiner finishes; without one it finishes noised images. `four_bits` rounds "int4-weights".
    Raises MezzotintError for unfit input and CheckFailed when a graph misses its floor; `output` is then as it was.
    """
    asked = Request(
        recipe=recipe,
        target=target,
        prompts=prompts,
        overrides=overrides or {},
        min_sqnr_db=min_sqnr_db,
        costs=costs,
        split_shortcuts=split_shortcuts,
        attends_in_int8=attends_in_int8,
        skip_passes=skip_passes,
        approximations=approximations,
        base=base,
        four_bits=four_bits,
    )
    bundle = Bundle.open(source)
    settings = settings or CalibrationSettings.of(bundle)
    chosen = settle(bundle, asked, settings)
    run = CalibrationRun(progress=progress, memory_limit_bytes=memory_limit_bytes)
    attends, exact = chosen.attends_in_int8, chosen.exact
    method = replace(RECIPE_METHOD, splits_shortcuts=split_shortcuts, attends_in_int8=attends, exact=exact)
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        data = calibrate(bundle, chosen.prompts, settings, progress, base)
        lowering = (chosen.storages, chosen.target, data, run, method, chosen.last, chosen.approximations)
        job = _Job(bundle, chosen.recipe, *lowering, min_sqnr_db, Costs(costs), four_bits or FourBitSettings())
        _fill(job, staging, progress)
        _audit(job, Bundle.open(staging), progress)
    return Bundle.open(output)


def _fill(job: _Job, staging: Path, progress: Progress) -> None:
    for entry in job.bundle.own_files():
        (staging / entry.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.bundle.path / entry.path, staging / entry.path)
    components: dict[str, Component] = {}
    for index, name in enumerate(job.storages):
        progress(f"quantizing {name} ({job.storages[name]})", index, len(job.storages))
        components[name] = _quantize_component(job, name, staging)
    integer, in_half = bool(BY_NODE.intersection(job.storages.values())), job.target.is_in_half
    manifest = replace(
        job.bundle.manifest,
        recipe=job.recipe.name,
        target=job.target.name,
        components=components,
        profiles={},
        cpu_features=job.target.cpu_features if integer else (),
        calibration=_record(job) if integer or (in_half and job.data.trajectories) else None,
        versions={**job.bundle.manifest.versions, **{tool: importlib.metadata.version(tool) for tool in _TOOLS}},
    )
    write_card(staging, manifest, read_licence(job.bundle.path / CARD_NAME))
    write_manifest(staging, manifest)


def _record(job: _Job) -> CalibrationRecord:
    """What decided besides the weights: calibration, and the times that a search went by."""
    record = job.data.record(splits_shortcuts=job.method.splits_shortcuts)
    return replace(record, costs_sha256=job.costs.sha256(), int8_attention=job.method.attends_in_int8)


def _audit(job: _Job, bundle: Bundle, progress: Progress) -> None:
    """Nothing is called INT8 that runs in float: CheckFailed unless the engine's own record says so."""
    if job.target.is_in_half:
        note_compiled(bundle, job.target, progress)
        return
    for name in bundle.manifest.graph_names:
        if bundle.component(name).storage in INTEGERS:
            progress(f"auditing {name}", 0, 1)
            check_coverage(audit_bundle(bundle, job.target.name, name))


def _quantize_component(job: _Job, name: str, staging: Path) -> Component:
    storage = job.storages[name]
    before, source = job.bundle.component(name), job.bundle.graph_path(name)
    with dropping_mapped_pages(source.resolve().parent, interval_s=0.25):  # of weights that have been read
        lowered = _lower(job, name, load_graph(source))
        if lowered.decisions:
            write_decisions(lowered.decisions, staging / name / DECISIONS_FILE)
        if lowered.folded is not None:
            write_folded(lowered.folded, staging / name / FOLDED_FILE)
        write_declines(lowered.declined, staging / name / DECLINED_FILE)
        saved = save_component(lowered.model, staging, name, before, _approximations_of(job, name))
    float32_weights = kept_in_float32(name, lowered.declined, job.run.progress)
    four_bits = lowered.four_bits
    del lowered  # engines are about to load the weights again
    give_back_memory()
    component = replace(
        saved,
        storage=storage,
        compute=Compute.F32 if storage == Storage.FLOAT32 else job.target.compute,
        parity=None,
        float32_weights=float32_weights,
        approximations=_approximations_of(job, name).names,
        four_bits=four_bits,
        compiled=(),
        engines=(),
    )
    parity = measure_parity(job.data, name, component, staging, job.target, job.run.progress)
    return replace(component, parity=parity)


@dataclass(frozen=True)
class _Lowered:
    """A component's graph as it will be written, and what is to be said of it."""

    model: ir.Model
    decisions: Decisions = field(default_factory=dict)
    declined: Declines = field(default_factory=dict)
    folded: Folded | None = None  # where something may be
    four_bits: FourBitRecord | None = None

    def then(self, rewritten: Rewritten) -> "_Lowered":
        """After more passes."""
        return replace(self, model=rewritten.model, declined=joined([self.declined, rewritten.declined]))


def _lower(job: _Job, name: str, model: ir.Model) -> _Lowered:
    """The FP32 graph `model` of component `name` in its storage, for the job's target."""
    lowered = _store(job, name, model)
    if job.target.is_in_half and job.storages[name] != Storage.FLOAT32:
        rewritten, fallbacks = convert_to_half(
            lowered.model, name, job.data, job.target.halves, job.storages[name], job.run.progress
        )
        job.target.check(rewritten.model)
        lowered = replace(lowered.then(rewritten), decisions=with_fallbacks(lowered.decisions, fallbacks))
    return lowered.then(run_passes(lowered.model, _last_passes(job, name)))


def _last_passes(job: _Job, name: str) -> tuple[Pass, ...]:
    family, storage = family_of(job.bundle), job.storages[name]
    if family.role(name) is Role.DENOISER and family.guidance is Guidance.CFG and storage in _REWRITTEN:
        return job.last.guided
    sees_images = family.role(name) in (Role.IMAGE_DECODER, Role.IMAGE_ENCODER)
    return job.last.images if sees_images and storage == Storage.INT8 else ()


def _store(job: _Job, name: str, model: ir.Model) -> _Lowered:
    match job.storages[name]:
        case Storage.FLOAT32:
            return _Lowered(model)
        case Storage.FLOAT16:
            lowered = _Lowered(model).then(run_passes(model, _method_of(job, name).exact))
            lowered = lowered.then(job.target.lower_floats(lowered.model))
            return lowered if job.target.is_in_half else lowered.then(run_passes(lowered.model, job.target.halves))
        case Storage.INT8_WEIGHTS:
            is_text = family_of(job.bundle).role(name) is Role.TEXT_ENCODER
            return _Lowered(model).then(run_passes(model, NNCF_WEIGHTS if is_text else ALL_WEIGHTS))
        case Storage.INT8:
            plan = decide_and_rewrite(model, name, job.data, job.run, _method_of(job, name))
            decisions = _decide(job, name, model, plan, job.target.fit)
            return _Lowered(model, decisions, plan.declined, plan.folded).then(job.target.lower(model, decisions))
        case Storage.INT4_WEIGHTS:
            made = store_four_bits(
                *(model, name),
                data=job.data,
                run=job.run,
                method=_method_of(job, name),
                target=job.target,
                settings=job.four_bits,
            )
            return _Lowered(made.model, made.decisions, made.declined, made.folded, made.record)
        case Storage.FP8:
            method = replace(_method_of(job, name), ranges=FLOAT8_RANGES)
            plan = decide_and_rewrite(model, name, job.data, job.run, method)
            decisions = _decide(job, name, model, plan, job.target.fit_float8)
            return _Lowered(model, decisions, plan.declined, plan.folded).then(job.target.lower(model, decisions))


def _method_of(job: _Job, name: str) -> Method:
    """The job's method for component `name`: of the denoiser with the approximations that were asked for."""
    return replace(job.method, exact=(*job.method.exact, *_approximations_of(job, name).passes))


def _approximations_of(job: _Job, name: str) -> Approximations:
    return job.approximations if family_of(job.bundle).role(name) is Role.DENOISER else NOTHING


def _decide(job: _Job, name: str, model: ir.Model, plan: IntegerPlan, fit: Fit) -> Decisions:
    """Every node's decision, such as the target can keep it."""
    decisions = fit(model.graph, plan.decisions)
    if job.min_sqnr_db is None:
        return decisions
    return search_exclusions(
        model,
        name,
        decisions=decisions,
        statistics=plan.statistics,
        data=job.data,
        target=job.target,
        costs=job.costs,
        floor_db=job.min_sqnr_db,
        progress=job.run.progress,
    )
