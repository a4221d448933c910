"""What each component of a bundle is stored as, by a recipe, for a target."""

from collections.abc import Mapping
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import BY_NODE, INTEGERS, Storage
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of

from ..decide.recipe import Recipe, component_storages
from ..graphs.graph_file import load_graph
from ..graphs.shallow import settle_layers
from ..passes.approximations import DEEP_CACHE, Approximations
from .target import Target, fit_storages


def storages_of(bundle: Bundle, recipe: Recipe, target: Target, overrides: Mapping[str, str]) -> dict[str, Storage]:
    """By name; `overrides` are what the user asked for, as component to recipe word.

    MezzotintError for an unknown component or word, and for what the target cannot take.
    """
    family = family_of(bundle)
    components = {name: family.role(name) for name in bundle.manifest.components}
    return fit_storages(target, recipe, component_storages(recipe, components, overrides), overrides)


def check_used(
    storages: Mapping[str, Storage],
    target: Target,
    floor_db: float | None,
    costs: Path | None,
    *,
    splits_shortcuts: bool,
    attends_in_int8: bool,
    sets_four_bits: bool,
) -> None:
    """MezzotintError where an option was given that nothing would come of, with these storages and other options."""
    given = {
        "--min-sqnr-db": floor_db is not None,
        "--split-shortcuts": splits_shortcuts,
        "--int8-attention": attends_in_int8,
    }
    unused = [option for option, is_given in given.items() if is_given]
    if unused and not BY_NODE.intersection(storages.values()):
        raise MezzotintError(
            f"{', '.join(unused)}: only components in INT8 or FP8 have a use for it, and here there are none; leave it "
            "out, or choose --recipe int8 or --set unet=int8"
        )
    in_four_bits = [name for name, storage in storages.items() if storage is Storage.INT4_WEIGHTS]
    if sets_four_bits and not in_four_bits:
        raise MezzotintError(
            what="--int4-group and --int4-rank",
            got="no component in int4-weights",
            advice="leave them out, or choose --recipe int4-weights or --set unet=int4-weights",
        )
    if floor_db is not None and in_four_bits:
        raise MezzotintError(
            what=f"--min-sqnr-db with {in_four_bits[0]} in int4-weights",
            expected="components in INT8 or FP8, whose nodes it takes out of 8 bits",
            advice="leave it out, or correct the 4-bit weights with --int4-rank",
        )
    if attends_in_int8 and not target.attends_in_int8:
        raise MezzotintError(f"{target.name} has no attention in 8 bits; --int8-attention is for openvino")
    if costs is not None and floor_db is None:
        raise MezzotintError("--costs are what --min-sqnr-db chooses nodes by, which is missing; give both or neither")


def attends_in_int8_of(storages: Mapping[str, Storage], target: Target, asked: bool | None) -> bool:
    """Whether the scores of self-attention are computed in 8 bits: as `asked`, or where it costs nothing to speak of.

    That is where a component is in INT8 and the target can (docs/quantization.md has what it costs).
    """
    return asked if asked is not None else target.attends_in_int8 and Storage.INT8 in storages.values()


def check_approximated(
    bundle: Bundle, storages: Mapping[str, Storage], target: Target, approximations: Approximations
) -> None:
    """MezzotintError where the denoiser cannot compute less in this way: its storage, target or bundle is another."""
    denoiser, passes = family_of(bundle).denoiser, approximations.passes
    if passes and storages[denoiser] not in (Storage.FLOAT16, *INTEGERS):
        raise MezzotintError(f"{passes[0].name} is for fp16 and int8, and {denoiser} is to be {storages[denoiser]}")
    if not approximations.has_shallow:
        return
    if target.is_in_half:
        raise MezzotintError(
            f"{DEEP_CACHE} is for openvino and onnxruntime, and not for {target.name}: no GPU has run its graphs yet; "
            "leave it away"
        )
    if bundle.manifest.controls:
        raise MezzotintError(
            f"{DEEP_CACHE} is not for bundles with ControlNets and T2I-adapters, such as "
            f"{bundle.manifest.controls[0].name}: what these add goes into the layers that it leaves out; leave it away"
        )
    settle_layers(load_graph(bundle.graph_path(denoiser)).graph, approximations.layers)
