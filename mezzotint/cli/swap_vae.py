"""`mezzotint swap-vae`."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Storage
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of

from .options import AsJson, BundlePath, Output, Overwrite
from .terminal import STDERR, STDOUT, bundle_json, show_progress, warnings_as_lines, write_json

if TYPE_CHECKING:
    from mezzotint.export.swap_vae import StoredAs

_VAE = "A VAE's or checkpoint's folder, a hub id, a file, or TAESD's decoder by its encoder."
_UNQUANTIZED = "fp32"
_FORCE = "Take a VAE whose latents are said to be others, such as one of Stable Diffusion XL for 1.5."


def swap_vae(
    bundle: BundlePath,
    vae: Annotated[str, typer.Argument(help=_VAE)],
    output: Output,
    variant: Annotated[str | None, typer.Option(help="Weights to take where there are several, such as fp16.")] = None,
    force_vae: Annotated[bool, typer.Option("--force-vae", help=_FORCE)] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put another VAE into a copy of a bundle; its other graphs stay as they are."""
    from mezzotint.export import swap_vae as swap

    before = Bundle.open(bundle)
    with show_progress() as progress, warnings_as_lines():
        swapped = swap(
            bundle,
            vae,
            output,
            variant=variant,
            force=force_vae,
            stored_as=storages_of(before),
            overwrite=overwrite,
            progress=progress,
        )
    _advise(before, swapped)
    if as_json:
        write_json(bundle_json(swapped))
        return
    for folder, taken in swapped.manifest.replaced.items():
        STDOUT.print(f"{folder}: {taken.name} (sha256 {taken.sha256[:12]})", markup=False)
    for name, component in _halves(swapped).items():
        parity = component.parity
        agreement = "not checked" if parity is None else f"{parity.sqnr_db} dB against {parity.against}"
        STDOUT.print(f"{name}: {component.storage}, {agreement}")
    STDOUT.print(f"wrote {output}", markup=False)


def storages_of(bundle: Bundle) -> "StoredAs":
    """FP16 where the bundle has its own VAE in FP16 for an engine that casts it at load, and FP32 elsewhere."""
    from mezzotint.export.graphs.stored import IN_FLOAT32, Stored

    halves = {name for name, one in bundle.manifest.components.items() if one.storage is Storage.FLOAT16}
    if not halves:
        return lambda _before: IN_FLOAT32
    from mezzotint.quantize.lower.half_storage import store_in_half
    from mezzotint.quantize.lower.target import find_target
    from mezzotint.quantize.verify.parity import FLOORS_DB

    target = bundle.manifest.target
    is_in_half = find_target(target).is_in_half

    def stored(before: Component) -> Stored:
        if before.storage is not Storage.FLOAT16 or is_in_half:
            return IN_FLOAT32
        return Stored(
            storage=Storage.FLOAT16,
            compute=before.compute,
            rewrite=partial(store_in_half, target=target),
            floor_db=FLOORS_DB[Storage.FLOAT16],
        )

    return stored


def _halves(bundle: Bundle) -> dict[str, Component]:
    """Decoder and encoder."""
    family = family_of(bundle)
    names = [*family.names(Role.IMAGE_DECODER), *family.names(Role.IMAGE_ENCODER)]
    return {name: bundle.component(name) for name in names}


def _advise(before: Bundle, swapped: Bundle) -> None:
    """Say what of the old VAE's storage the new one has not, and how it would."""
    for name, one in _halves(swapped).items():
        old = before.component(name).storage
        if one.storage is not old:
            STDERR.print(f"{name} was {old} and is {one.storage} now", markup=False)
    if before.manifest.recipe != _UNQUANTIZED:
        (decoder,) = family_of(before).names(Role.IMAGE_DECODER)
        STDERR.print(
            "the new VAE is not calibrated: for a decoder in INT8 swap it in the FP32 bundle, and quantize that with "
            f"--set {decoder}=int8",
            markup=False,
        )
