"""`mezzotint quantize`: an FP32 bundle, a recipe and a target in, a smaller bundle out."""

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import Bundle, file_entry, write_manifest
from mezzotint.bundle.manifest import MANIFEST_NAME, Component
from mezzotint.engines.heap import give_back_memory
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress, silent

from .calibrate.default_prompts import default_prompts
from .calibrate.trajectories import CalibrationSettings
from .decide.integer import Calibration, decide_integer
from .graphs.graph_file import save_graph
from .lower.half_target import settle_in_half
from .lower.target import Target, check_prompts, find_target, fit_recipe, needs_prompts
from .lower.weight_only import compress_all_weights, compress_with_nncf
from .passes.half import lower_half
from .recipe import Recipe, find_recipe, with_overrides
from .scheme import Decisions
from .search.costs import Costs
from .search.search import search_exclusions
from .verify.audit import audit_bundle, check_promise
from .verify.parity import measure_parity

__all__ = ["quantize_bundle"]

_TOOLS = ("mezzotint", "onnx", "onnx-ir", "nncf")


@dataclass(frozen=True)
class _Job:
    """What all components share."""

    bundle: Bundle
    recipe: Recipe
    target: Target
    calibration: Calibration
    min_sqnr_db: float | None
    costs: Costs


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
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Quantize the FP32 bundle at `source` into a new one at `output`.

    `prompts` are the calibration prompts, which an "int8" component and FP16 on a GPU need; None is the list that comes
    with the package. `overrides` maps components to schemes; `min_sqnr_db` takes nodes out of INT8 until the
    component's output reaches it on the target, by the times in the file `costs` (None: the one in the user's cache
    folder), which gets those that it lacks.
    `memory_limit_bytes` makes calibration look at fewer tensors at a time, with the same result;
    `split_shortcuts` puts shortcut convolutions of concatenations into INT8, split by channel range.
    Raises MezzotintError for input that does not fit and CheckFailed when a graph misses its floor; `output` is then
    as it was.
    """
    bundle = Bundle.open(source)
    lowered_for = find_target(target)
    chosen = fit_recipe(with_overrides(find_recipe(recipe), overrides or {}), lowered_for, overrides or {})
    if bundle.manifest.recipe != "fp32":
        raise MezzotintError(f"{source} is {bundle.manifest.recipe} already; quantize the FP32 bundle it came from")
    if prompts is None:
        prompts = default_prompts() if needs_prompts(chosen, lowered_for) else ()
    check_prompts(chosen, lowered_for, prompts)
    settings = settings or CalibrationSettings()
    bundle.geometry().latent_shape(settings.height, settings.width)  # refuses a size before any work
    calibration = Calibration(bundle, tuple(prompts), settings, progress, memory_limit_bytes, split_shortcuts)
    job = _Job(bundle, chosen, lowered_for, calibration, min_sqnr_db, Costs(costs))
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        _fill(job, staging, progress)
        _audit(job, Bundle.open(staging), progress)
    return Bundle.open(output)


def _fill(job: _Job, staging: Path, progress: Progress) -> None:
    for entry in job.bundle.manifest.files:
        (staging / entry.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.bundle.path / entry.path, staging / entry.path)
    components: dict[str, Component] = {}
    for index, name in enumerate(job.bundle.manifest.components):
        progress(f"quantizing {name} ({job.recipe.schemes[name]})", index, len(job.bundle.manifest.components))
        components[name] = _quantize_component(job, name, staging)
    integer, in_half = "int8" in job.recipe.schemes.values(), job.target.is_in_half
    manifest = replace(
        job.bundle.manifest,
        recipe=job.recipe.name,
        target=job.target.name,
        components=components,
        cpu_features=job.target.cpu_features if integer else (),
        calibration=_record(job) if integer or (in_half and job.calibration.prompts) else None,
        versions={**job.bundle.manifest.versions, **{tool: importlib.metadata.version(tool) for tool in _TOOLS}},
    )
    write_manifest(staging, manifest)


def _record(job: _Job) -> dict[str, Any]:
    """What decided besides the weights: calibration, and the times that a search went by."""
    sha256 = job.costs.sha256()
    return job.calibration.record() | ({"costs_sha256": sha256} if sha256 is not None else {})


def _audit(job: _Job, bundle: Bundle, progress: Progress) -> None:
    """Nothing is called INT8 that runs in float: CheckFailed unless the engine's own record says so."""
    if job.target.is_in_half:  # the manifest says where parity was measured; `audit` refuses to speak for a GPU
        progress(f"not audited: kernels of {job.target.name} are not recorded", 1, 1)
        return
    for name, scheme in job.recipe.schemes.items():
        if scheme == "int8":
            progress(f"auditing {name}", 0, 1)
            check_promise(audit_bundle(bundle, job.target.name, name))


def _quantize_component(job: _Job, name: str, staging: Path) -> Component:
    scheme = job.recipe.schemes[name]
    before = job.bundle.component(name)
    model = ir.load(job.bundle.graph_path(name))
    if scheme == "int8":
        decisions, statistics = decide_integer(model, name, job.calibration)
        decisions = job.target.fit(model.graph, decisions)
        if job.min_sqnr_db is not None:
            decisions = search_exclusions(
                model, name, decisions, statistics, job.calibration, job.target, job.costs, job.min_sqnr_db
            )
        model = job.target.lower(model, decisions)
        _write_decisions(decisions, staging / name / "quantization.json")
    elif scheme == "fp16":
        model = job.target.lower_floats(model)
        if not job.target.is_in_half:
            lower_half(model)
    elif scheme == "int8-weights":
        model = compress_with_nncf(model) if name.startswith("text_encoder") else compress_all_weights(model)
    if job.target.is_in_half and scheme != "fp32":
        settle_in_half(model, name, job.calibration, staging / name)
        job.target.check(model)
    files = save_graph(model, staging / name)
    del model  # engines are about to load the weights again
    give_back_memory()
    component = replace(
        before,
        files=tuple(file_entry(staging, f"{name}/{file}") for file in files),
        storage={"fp32": "float32", "fp16": "float16"}.get(scheme, scheme),
        compute="f32" if scheme == "fp32" else job.target.compute,
        parity=None,
    )
    return replace(component, parity=measure_parity(job.calibration, name, component, staging, job.target))


def _write_decisions(decisions: Decisions, path: Path) -> None:
    """Per node: scheme, ranges, and the rule that decided."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {name: _plain(asdict(decision)) for name, decision in decisions.items()}
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _plain(decision: dict[str, Any]) -> dict[str, Any]:
    """A decision as JSON has it; what is None of the search is left out, for most bundles are made without one."""
    evidence = decision["evidence"]
    if evidence is not None:
        times = evidence["float_ms"], evidence["integer_ms"]
        evidence["gain_ms"] = None if None in times else round(times[0] - times[1], 4)
    for role in ("activation", "output"):
        quantizer = decision[role]
        if quantizer is not None:
            scale, zero_point = float(quantizer["scale"]), int(quantizer["zero_point"])
            q_min, q_max = quantizer["integer"]["q_min"], quantizer["integer"]["q_max"]
            decision[role] = {
                "dtype": quantizer["integer"]["dtype"],
                "scale": scale,
                "zero_point": zero_point,
                "low": (q_min - zero_point) * scale,
                "high": (q_max - zero_point) * scale,
            }
    left_out = {"node", *(key for key in ("evidence", "step") if decision[key] is None)}
    return {key: value for key, value in decision.items() if key not in left_out}
