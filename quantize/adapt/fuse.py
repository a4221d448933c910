"""`mezzotint lora`: adapters added to the weights of a bundle, FP32 or quantized, without PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mezzotint.adapters.fit import Adapter, fit_adapter
from mezzotint.adapters.given import GivenAdapter, refuse_twice
from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import Bundle, file_entry, write_manifest
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.decisions import DECISIONS_FILE
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, FusedAdapter, Manifest
from mezzotint.bundle.precision import INTEGERS, Storage
from mezzotint.engines.heap import give_back_memory
from mezzotint.errors import CheckFailed, MezzotintError
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from ..calibrate.calibrate import calibrate
from ..calibrate.default_prompts import default_prompts
from ..calibrate.trajectories import CalibrationSettings
from ..graphs.graph_file import load_graph, save_graph
from ..lower.target import find_target
from ..verify.audit import audit_bundle, check_coverage
from ..verify.parity import measure_parity
from .copies import copy_but
from .given_bundle import GivenBundle
from .parameters import Merge, merge_lazily, merge_now
from .relower import relowered

_PROMPTS = 4  # that parity is measured on, spread over the package's


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Adapters that fit, each with its scale, and the components that they change."""

    given: GivenBundle
    adapters: Sequence[tuple[Adapter, float]]
    progress: Progress

    @property
    def changed(self) -> tuple[str, ...]:
        """The components whose weights become others, in the bundle's order."""
        parts = {target.part for adapter, _ in self.adapters for target in adapter.changes}
        return tuple(name for name in self.given.bundle.manifest.components if name in parts)

    def merges(self, name: str) -> list[Merge]:
        """Of one component."""
        return [
            (change, scale)
            for adapter, scale in self.adapters
            for target, change in adapter.changes.items()
            if target.part == name
        ]


def fuse_adapters(
    source: Path,
    adapters: Sequence[GivenAdapter],
    output: Path,
    *,
    base: Path | None = None,
    prompts: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Add `adapters` to the weights of the bundle at `source`, into a new one at `output`.

    A quantized bundle needs `base`, the FP32 bundle that it was made from: changed weights are rounded anew,
    activations keep their ranges, and the graphs' fidelity is measured anew against the changed FP32 graphs. Raises
    MezzotintError for adapters that do not fit and bundles that cannot be changed, and CheckFailed where too little
    fidelity is left; `output` is then as it was. `prompts` are what fidelity is measured on; None is a few of the
    package's, which may be nothing that the checkpoint has learned.
    """
    refuse_twice(adapters)
    given = GivenBundle.open(source, base)
    if given.bundle.manifest.live:
        raise MezzotintError(f"{source} has live adapters; add these to the weights of the bundle it was made from")
    shapes, called = given.shapes(), family_of(given.bundle).name
    fitted = [(fit_adapter(one.path, shapes, called), one.scale) for one in adapters]
    job = _Job(given=given, adapters=fitted, progress=progress)
    _check_rounding(job)
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        if given.is_float:
            _fill(job, given.bundle, staging, _write_floats(job, staging))
        else:
            with TemporaryDirectory(prefix="mezzotint-") as folder:
                floats = Path(folder) / "floats"
                floats.mkdir()
                _fill(job, given.floats, floats, _write_floats(job, floats))
                _fill(job, given.bundle, staging, _write_lowered(job, staging, Bundle.open(floats), prompts))
            _audit(job, staging)
    return Bundle.open(output)


def _check_rounding(job: _Job) -> None:
    """4-bit weights are rounded by what calibration saw them multiply, which nothing here can do anew."""
    in_four_bits = [n for n in job.changed if job.given.bundle.component(n).storage is Storage.INT4_WEIGHTS]
    if in_four_bits:
        raise MezzotintError(
            where=job.given.bundle.path,
            what=f"the storage of {in_four_bits[0]}",
            got=str(Storage.INT4_WEIGHTS),
            expected="one whose weights can be rounded again without calibration",
            advice="put the adapters beside them with --live, or add them to the FP32 bundle and quantize that",
        )


def _write_floats(job: _Job, staging: Path) -> dict[str, Component]:
    """The changed FP32 graphs, written weight by weight; what the manifest says of them."""
    components: dict[str, Component] = {}
    for index, name in enumerate(job.changed):
        job.progress(f"adding to {name}", index, len(job.changed))
        model = load_graph(job.given.floats.graph_path(name))
        merge_lazily(model.graph, job.merges(name))
        files = save_graph(model, staging / name)
        entries = tuple(file_entry(staging, f"{name}/{file}") for file in files)
        components[name] = replace(job.given.floats.component(name), files=entries, parity=None)
        give_back_memory()
    return components


def _write_lowered(job: _Job, staging: Path, floats: Bundle, prompts: Sequence[str] | None) -> dict[str, Component]:
    bundle, target = job.given.bundle, find_target(job.given.bundle.manifest.target)
    written: dict[str, Component] = {}
    for index, name in enumerate(job.changed):
        job.progress(f"rounding {name} anew", index, len(job.changed))
        model = load_graph(job.given.floats.graph_path(name))
        merge_now(model.graph, job.merges(name))
        model = relowered(bundle, name, model)
        files = save_graph(model, staging / name)
        del model
        give_back_memory()
        entries = tuple(file_entry(staging, f"{name}/{file}") for file in files)
        written[name] = replace(bundle.component(name), files=entries, parity=None, compiled=(), engines=())
    data = calibrate(floats, _prompts(floats, prompts), _settings(bundle), job.progress)
    for name, component in written.items():
        try:
            parity = measure_parity(data, name, component, staging, target, job.progress)
        except CheckFailed as error:
            raise CheckFailed(
                f"{error}; ranges that were calibrated without the adapters do not fit any more: add them to the FP32 "
                f"bundle {job.given.floats.path}, and quantize that"
            ) from error
        written[name] = replace(component, parity=parity)
    return written


def _prompts(bundle: Bundle, given: Sequence[str] | None) -> tuple[str, ...]:
    """A few of those, or of the package's, if the family reads any."""
    if not family_of(bundle).texts:
        return ()
    prompts = default_prompts() if given is None else tuple(given)
    return prompts[:: max(1, len(prompts) // _PROMPTS)][:_PROMPTS]


def _settings(bundle: Bundle) -> CalibrationSettings:
    """The run that the bundle was calibrated for, or its own."""
    record = bundle.manifest.calibration
    if record is None:
        return replace(CalibrationSettings.of(bundle), trajectories=_PROMPTS)
    settings = CalibrationSettings.of(bundle, record.scheduler, record.steps, record.guidance, record.schedule)
    factor = family_of(bundle).geometry(bundle.config).vae_factor
    _, height, width = record.latent_shape
    return replace(settings, trajectories=_PROMPTS, height=height * factor, width=width * factor)


def _fill(job: _Job, bundle: Bundle, staging: Path, components: Mapping[str, Component]) -> None:
    """The rest of the bundle in `staging`, and its manifest."""
    copy_but(bundle, job.changed, staging)
    before = bundle.manifest
    added = tuple(
        FusedAdapter(name=one.path.name, sha256=one.sha256, scale=scale, forms=one.forms) for one, scale in job.adapters
    )
    manifest: Manifest = replace(
        before, components={**before.components, **components}, fused=(*before.fused, *added), profiles={}
    )
    write_card(staging, manifest, read_licence(bundle.path / CARD_NAME))
    write_manifest(staging, manifest)


def _audit(job: _Job, staging: Path) -> None:
    """What the bundle calls INT8 still has to run so."""
    bundle = Bundle.open(staging)
    for name in job.changed:
        if bundle.component(name).storage in INTEGERS:
            if not (bundle.path / name / DECISIONS_FILE).is_file():
                raise MezzotintError(f"{bundle.path}/{name} lacks {DECISIONS_FILE}; quantize again")
            job.progress(f"auditing {name}", 0, 1)
            check_coverage(audit_bundle(bundle, bundle.manifest.target, name))
