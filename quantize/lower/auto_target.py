"""The target where nobody named one: that of the fastest engine which can run the recipe on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import INTEGERS
from mezzotint.engines.cpu import cpu_features, cpu_model
from mezzotint.engines.lineup import ENGINES
from mezzotint.errors import MezzotintError

from ..decide.recipe import Recipe
from .storages import storages_of
from .target import TARGETS, Target


@dataclass(frozen=True)
class TargetChoice:
    """A target and why it was taken."""

    target: Target
    reason: str


def choose_target(bundle: Bundle, recipe: Recipe, overrides: Mapping[str, str]) -> TargetChoice:
    """The first target, in the order of ENGINES, whose engine is installed and can run `recipe` here.

    MezzotintError says of every target why it cannot be.
    """
    skipped: list[str] = []
    elsewhere: list[str] = []  # that another machine would run
    for engine in ENGINES:
        target = next((target for target in TARGETS if target.name == engine.name), None)
        if target is None:
            continue
        refused = _unfit(bundle, recipe, target, overrides)
        unfit = refused or engine.missing()
        if unfit is None:
            passed_over = [line.partition(" ")[0] for line in skipped]
            why = f"the fastest engine that can run {recipe.name} on this machine ({cpu_model()})"
            return TargetChoice(target, f"{why}; {' and '.join(passed_over)} cannot" if passed_over else why)
        skipped.append(f"{engine.name} {unfit}")
        elsewhere += [] if refused else [target.name]
    made_here = f"--target {' or '.join(elsewhere)} makes the bundle here all the same, for a machine that runs it"
    raise MezzotintError(
        what=f"no target for {recipe.name} can run here: {'; '.join(skipped)}",
        advice=made_here if elsewhere else "choose another recipe",
    )


def _unfit(bundle: Bundle, recipe: Recipe, target: Target, overrides: Mapping[str, str]) -> str | None:
    """Why `target` cannot take `recipe` on this CPU, as the end of a sentence that begins with its name."""
    try:
        storages = storages_of(bundle, recipe, target, overrides)
    except MezzotintError as error:
        return str(error).removeprefix(f"{target.name} ")
    if INTEGERS.intersection(storages.values()):
        lacking = [needed for needed in target.cpu_features if not cpu_features().intersection(needed.split("|"))]
        if lacking:
            return f"needs the CPU feature {' and '.join(lacking).replace('|', ' or ')} for INT8"
    return None
