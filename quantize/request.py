"""What a quantization is asked for, and what that comes to: a run and a dry run refuse the same, before any work."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import Storage
from mezzotint.families.lineup import family_of

from .calibrate.beginning import Beginning
from .calibrate.trajectories import CalibrationSettings
from .decide.four_bits import FourBitSettings
from .decide.recipe import Recipe, find_recipe
from .lower.storages import attends_in_int8_of, check_approximated, check_used, storages_of
from .lower.target import Target, find_target, settle_prompts
from .passes.approximations import Approximations, find_approximations
from .passes.contract import Pass
from .passes.exact import without
from .quantizable import check_quantizable
from .search.exclusion import check_floor


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `quantize_bundle`, by the same names."""

    recipe: str
    target: str
    prompts: Sequence[str] | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    min_sqnr_db: float | None = None
    costs: Path | None = None
    split_shortcuts: bool = False
    attends_in_int8: bool | None = None
    skip_passes: Collection[str] = ()
    approximations: Sequence[str] = ()
    base: Path | None = None
    four_bits: FourBitSettings | None = None


@dataclass(frozen=True, kw_only=True)
class LastPasses:
    """What runs on lowered graphs: on a denoiser that is guided, and on what decodes and encodes images."""

    guided: tuple[Pass, ...]
    images: tuple[Pass, ...]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A request that can be met: each component's storage, prompts that are at hand, passes that are left."""

    recipe: Recipe
    target: Target
    storages: Mapping[str, Storage]
    prompts: Sequence[str]
    exact: tuple[Pass, ...]
    last: LastPasses
    approximations: Approximations
    attends_in_int8: bool


def settle(bundle: Bundle, asked: Request, settings: CalibrationSettings) -> Settled:
    """What `asked` means for `bundle`; nothing runs. MezzotintError for what cannot be, or would come to nothing."""
    check_floor(asked.min_sqnr_db)
    recipe, target, family = find_recipe(asked.recipe), find_target(asked.target), family_of(bundle)
    storages = storages_of(bundle, recipe, target, asked.overrides)
    check_used(
        *(storages, target, asked.min_sqnr_db, asked.costs),
        splits_shortcuts=asked.split_shortcuts,
        attends_in_int8=bool(asked.attends_in_int8),
        sets_four_bits=asked.four_bits is not None,
    )
    check_quantizable(bundle)
    prompts = settle_prompts(family, storages, target, asked.prompts)
    family.geometry(bundle.config).latent_shape(settings.height, settings.width)
    groups = (target.exact, target.guided, target.images)
    exact, guided, images = (without(passes, asked.skip_passes) for passes in groups)
    approximations = find_approximations(asked.approximations)
    check_approximated(bundle, storages, target, approximations)
    Beginning.of(bundle, asked.base)
    return Settled(
        recipe=recipe,
        target=target,
        storages=storages,
        prompts=prompts,
        exact=exact,
        last=LastPasses(guided=guided, images=images),
        approximations=approximations,
        attends_in_int8=attends_in_int8_of(storages, target, asked.attends_in_int8),
    )
