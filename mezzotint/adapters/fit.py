"""An adapter's file on a model: every key finds its module and fits it, or the file is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mezzotint.bundle.bundle import sha256_of
from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.opening import open_tensor_file
from mezzotint.tensor_files.state_dict import more_than_tensors
from mezzotint.tensor_files.tensor_file import TensorFile

from .change import Change, magnitude_axis
from .factors import DIFF_BIAS, MAGNITUDE, NORM_BIAS, ROW_MAGNITUDE, Factors, group_factors
from .kinship import kin_of
from .lineup import FORMS, form_of
from .module_names import Meant, ModuleNames, Shapes, Target
from .scaling import Scaling

_MOST_LISTED = 3
_MOST_CHARACTERS = 300  # of what is listed in a message
_MOST_OWNER = 120


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What a file changes: one change for each module that it has factors for."""

    path: Path
    sha256: str
    changes: Mapping[Target, Change]

    @property
    def name(self) -> str:
        """What it is called where it is one of several."""
        return self.path.stem

    @property
    def forms(self) -> tuple[str, ...]:
        """The names of what is in it."""
        names = dict.fromkeys(change.form.name for change in self.changes.values())
        is_decomposed = any(change.is_decomposed for change in self.changes.values())
        return (*names, *(["DoRA"] if is_decomposed else []))


def fit_adapter(path: Path, shapes: Shapes, called: str) -> Adapter:
    """The adapter in a file, which stays open as long as somebody holds it, on a model of these shapes.

    `called` is the model's name in messages. Raises MezzotintError, one sentence that lists the first of them, for keys
    that mean no module, for factors that do not fit theirs, and for a file that holds no adapter.
    """
    file = open_tensor_file(path)
    if file.table.foreign:
        fault = more_than_tensors(file.table.foreign)
        raise MezzotintError(f"{path} {fault.what}; {fault.advice}")
    return _fitted(file, shapes, called)


def _fitted(file: TensorFile, shapes: Shapes, called: str) -> Adapter:
    factors, unknown = group_factors(file)
    if not factors:
        raise MezzotintError(
            f"{file.path} holds no LoRA or other adapter ({_listed(unknown)}); give one of "
            f"{', '.join(form.name for form in FORMS)}"
        )
    names = ModuleNames.of(shapes)
    meant = {owner: names.find(owner) for owner in factors}
    lost = [*unknown, *(owner for owner, one in meant.items() if one is None)]
    if lost:
        kin = kin_of(list(factors.values()))
        of_kin = f", which seems to be for {kin}," if kin is not None else ""
        raise MezzotintError(
            f"{file.path}{of_kin} has {len(lost)} names, of {len(factors) + len(unknown)}, that {called} has no module "
            f"for: {_listed(lost)}; take an adapter that was made for this model"
        )
    chosen = _each_once(file, {owner: one for owner, one in meant.items() if one is not None})
    scaling = Scaling.of(file)
    changes = {target: _change(factors[owner], target, shapes, scaling) for owner, target in chosen.items()}
    faults = [one for one in changes.values() if isinstance(one, str)]
    if faults:
        kin = kin_of(list(factors.values()))
        of_kin = f", which seems to be for {kin}," if kin is not None else ""
        raise MezzotintError(
            f"{file.path}{of_kin} does not fit {called} in {len(faults)} of {len(changes)} modules: {_listed(faults)}; "
            "take an adapter that was made for this model"
        )
    fitted = {target: one for target, one in changes.items() if isinstance(one, Change)}
    return Adapter(path=file.path, sha256=sha256_of(file.path), changes=fitted)


def _each_once(file: TensorFile, meant: Mapping[str, Meant]) -> dict[str, Target]:
    """Owners and their targets; of two names for one the one that the latent diffusion code has is left out.

    Some trainers write both, with the same factors.
    """
    by_target: dict[Target, list[str]] = {}
    for owner, one in meant.items():
        by_target.setdefault(one.target, []).append(owner)
    chosen: dict[str, Target] = {}
    for target, owners in by_target.items():
        own = [owner for owner in owners if not meant[owner].is_original] or owners
        if len(own) > 1:
            raise MezzotintError(
                f"{file.path} has factors of {target.module} under {len(own)} names, {_listed(own)}; keep one of them"
            )
        chosen[own[0]] = target
    return chosen


def _change(factors: Factors, target: Target, shapes: Shapes, scaling: Scaling) -> Change | str:
    """The change, or what is wrong with it."""
    parameters = shapes[target.part]
    shape, form = parameters[target.weight], form_of(factors)
    said = ", ".join(f"{kind} {_dims(factors.shape(kind))}" for kind in sorted(factors.kinds))
    if form is None:
        return f"{factors.owner[:_MOST_OWNER]} has {said}, which are the factors of no known form"
    bias_kind = next((kind for kind in (DIFF_BIAS, NORM_BIAS) if kind in factors.kinds), None)
    fits_bias = bias_kind is None or factors.shape(bias_kind) == parameters.get(target.bias)
    if not form.fits(factors, shape) or not fits_bias or not _magnitude_fits(factors, shape):
        return f"{factors.owner[:_MOST_OWNER]} is {_dims(shape)} and has {said}"
    factor = scaling.factor(target, form.rank(factors), factors.alpha())
    return Change(target=target, form=form, factors=factors, shape=shape, factor=factor)


def _magnitude_fits(factors: Factors, shape: tuple[int, ...]) -> bool:
    kinds = factors.kinds & {MAGNITUDE, ROW_MAGNITUDE}
    fits = [magnitude_axis(factors.shape(kind), shape, rows_alone=kind == ROW_MAGNITUDE) is not None for kind in kinds]
    return len(fits) < 2 and all(fits)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    first = ", ".join(name[:_MOST_CHARACTERS] for name in names[:_MOST_LISTED])
    return first + (f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else "")


def _dims(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:8])) or "a number"
