"""`mezzotint lora --live`: adapters as branches beside the layers of a bundle's graphs, switched by an input."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from mezzotint.adapters.branch import MOST_RANK, Branch, branch_of
from mezzotint.adapters.fit import Adapter, fit_adapter
from mezzotint.adapters.given import GivenAdapter, refuse_twice
from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import (
    EXTERNAL_DATA_FILE,
    EXTERNAL_DATA_THRESHOLD_BYTES,
    GRAPH_FILE,
    Bundle,
    file_entry,
    write_manifest,
)
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.live import SCALE_INPUT, LiveAdapter
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, Manifest, TensorSpec
from mezzotint.bundle.precision import INTEGERS
from mezzotint.engines.heap import give_back_memory
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from ..graphs.graph_file import load_graph
from ..lower.target import find_target
from ..verify.audit import audit_bundle, check_coverage
from .branches import WEIGHTS, Beside, add_branches
from .copies import copy_but
from .given_bundle import GivenBundle
from .relower import Rescaled, relowered

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,63}")
_MOST_ADAPTERS = 16
_SMALL_BYTES = 256  # as ir.save has it


@dataclass(frozen=True, kw_only=True)
class _Job:
    given: GivenBundle
    adapters: Sequence[Adapter]
    branches: Mapping[str, Sequence[Beside]]  # by component
    progress: Progress


def add_live_adapters(
    source: Path,
    adapters: Sequence[GivenAdapter],
    output: Path,
    *,
    base: Path | None = None,
    most_rank: int = MOST_RANK,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Put `adapters` beside the layers of the bundle at `source`, into a new one at `output`; calls say their scales.

    The layers themselves stay as they are, INT8 or not. A quantized bundle needs `base`, the FP32 bundle that it was
    made from. Forms other than LoRA are cut to `most_rank`. Raises MezzotintError for adapters that do not fit or are
    no branch, and for bundles that cannot take them; `output` is then as it was.
    """
    refuse_twice(adapters)
    given = GivenBundle.open(source, base)
    _check(given, adapters, most_rank)
    shapes, called = given.shapes(), family_of(given.bundle).name
    fitted = [fit_adapter(one.path, shapes, called) for one in adapters]
    branches = {name: _besides(name, fitted, most_rank, progress) for name in given.bundle.manifest.components}
    job = _Job(given=given, adapters=fitted, branches={n: own for n, own in branches.items() if own}, progress=progress)
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        components = {name: _write(job, name, staging) for name in job.branches}
        _seal(job, components, staging)
        for name, component in components.items():
            if component.storage in INTEGERS:
                progress(f"auditing {name}", 0, 1)
                made = Bundle.open(staging)
                check_coverage(audit_bundle(made, made.manifest.target, name))
    return Bundle.open(output)


def _check(given: GivenBundle, adapters: Sequence[GivenAdapter], most_rank: int) -> None:
    manifest = given.bundle.manifest
    if manifest.live:
        raise MezzotintError(
            f"{given.bundle.path} has live adapters already ({', '.join(one.name for one in manifest.live)}); give all "
            "of them at once to the bundle that it was made from"
        )
    if not given.is_float and find_target(manifest.target).is_in_half:
        raise MezzotintError(
            f"{given.bundle.path} is for {manifest.target}, whose FP16 and 8-bit floats have to be calibrated with "
            "whatever is in the graph; fuse: add the adapters to the FP32 bundle without --live, and quantize that"
        )
    names = [one.path.stem for one in adapters]
    for one in adapters:
        if one.scale != 1.0:
            raise MezzotintError(
                f"the scale of a live adapter is said in each call; give {one.path} without :{one.scale:g}"
            )
        if _NAME.fullmatch(one.path.stem) is None:
            raise MezzotintError(
                f"{one.path.stem!r:.80} cannot be a live adapter's name, expected letters, digits, -, _ and . ; rename "
                "the file"
            )
        if names.count(one.path.stem) > 1:
            raise MezzotintError(f"two of the files are called {one.path.stem}, by which calls know them; rename one")
    if len(adapters) > _MOST_ADAPTERS:
        raise MezzotintError(f"got {len(adapters)} live adapters, expected at most {_MOST_ADAPTERS}; fuse some of them")
    if most_rank < 1:
        raise MezzotintError(f"the largest rank is {most_rank}, expected at least 1")


def _besides(name: str, adapters: Sequence[Adapter], most_rank: int, progress: Progress) -> list[Beside]:
    """The branches of a component's modules, in the order in which the files have them."""
    found: dict[str, dict[int, Branch]] = {}
    for index, adapter in enumerate(adapters):
        own = [change for target, change in adapter.changes.items() if target.part == name]
        for done, change in enumerate(own):
            progress(f"branches of {adapter.name} in {name}", done, len(own))
            found.setdefault(change.target.module, {})[index] = branch_of(change, most_rank)
    return [Beside(module=module, branches=branches) for module, branches in found.items()]


def _write(job: _Job, name: str, staging: Path) -> Component:
    """The graph with its branches: its own weights as before, each adapter's in a file of their own."""
    bundle, layers, count = job.given.bundle, job.branches[name], len(job.adapters)

    def extend(model: ir.Model, rescaled: Rescaled) -> Decisions:
        return add_branches(model, layers, count, rescaled)

    job.progress(f"writing {name}", 0, 1)
    model = relowered(bundle, name, load_graph(job.given.floats.graph_path(name)), extend)
    files = _save(model, staging / name, count)
    del model
    give_back_memory()
    before = bundle.component(name)
    return replace(
        before,
        files=tuple(file_entry(staging, f"{name}/{file}") for file in files),
        inputs=(*before.inputs, TensorSpec(SCALE_INPUT, "float32", (count,))),
        compiled=(),
        engines=(),
    )


def _save(model: ir.Model, folder: Path, count: int) -> list[str]:
    """The names of the files, the graph first."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [value for value in model.graph.initializers.values() if value.const_value is not None]
    mine = {index: [v for v in values if str(v.name).startswith(f"{WEIGHTS}{index}/")] for index in range(count)}
    others = _large([value for value in values if all(value not in own for own in mine.values())])
    files = {f"lora-{index}.onnx_data": own for index, own in mine.items() if own}
    if sum(tensor.nbytes for tensor in _tensors(others)) > EXTERNAL_DATA_THRESHOLD_BYTES:
        files = {EXTERNAL_DATA_FILE: others, **files}
    else:
        model = ir.external_data.load_to_model(model)
    for file, own in files.items():
        stored = ir.external_data.convert_tensors_to_external(_tensors(own), folder, file)
        for value, tensor in zip(own, stored, strict=True):
            value.const_value = tensor
    ir.save(model, folder / GRAPH_FILE)
    return [GRAPH_FILE, *files]


def _large(values: Sequence[ir.Value]) -> list[ir.Value]:
    """Those that may lie in a file of weights; the others are put into the graph, in place.

    Engines read shapes and axes from there, and ONNX Runtime refuses a graph that has them elsewhere.
    """
    small = [value for value in values if value.const_value is not None and value.const_value.nbytes <= _SMALL_BYTES]
    elsewhere = [value for value in small if isinstance(value.const_value, ir.ExternalTensor)]
    for value, tensor in zip(
        elsewhere, ir.external_data.convert_tensors_from_external(_tensors(elsewhere)), strict=True
    ):
        value.const_value = tensor
    return [value for value in values if value not in small]


def _tensors(values: Sequence[ir.Value]) -> list[ir.TensorProtocol]:
    return [value.const_value for value in values if value.const_value is not None]


def _seal(job: _Job, components: Mapping[str, Component], staging: Path) -> None:
    bundle = job.given.bundle
    copy_but(bundle, tuple(components), staging)
    live = tuple(_record(job, index) for index in range(len(job.adapters)))
    manifest: Manifest = replace(
        bundle.manifest, components={**bundle.manifest.components, **components}, live=live, profiles={}
    )
    write_card(staging, manifest, read_licence(bundle.path / CARD_NAME))
    write_manifest(staging, manifest)


def _record(job: _Job, index: int) -> LiveAdapter:
    adapter = job.adapters[index]
    own = [one.branches[index] for layers in job.branches.values() for one in layers if index in one.branches]
    return LiveAdapter(
        name=adapter.name,
        file=adapter.path.name,
        sha256=adapter.sha256,
        forms=adapter.forms,
        rank=max(branch.rank for branch in own),
        kept=round(min(branch.kept for branch in own), 6),
    )
