"""The shapes of a component's inputs while images are generated, which is what an engine is compiled for."""

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import LATENT_BATCH
from mezzotint.families.family import Guidance, Role
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.families.residuals import side_sizes


def image_shapes(
    bundle: Bundle, component: str, *, count: int = 1, height: int | None = None, width: int | None = None
) -> dict[str, tuple[int, ...]]:
    """By input, for `count` images of `height` x `width` pixels; None is the size that the bundle was calibrated for.

    A denoiser gets both halves where the bundle's own guidance makes two; text is encoded a window at a time, and
    adapters see an image at a time.
    MezzotintError for a size that the family does not take.
    """
    family = family_of(bundle)
    is_guided = family.guidance is Guidance.CFG and bundle.defaults().guidance > 1.0
    match family.role(component):
        case Role.TEXT_ENCODER | Role.T2I_ADAPTER:
            batch = 1
        case Role.DENOISER | Role.CONTROL:
            batch = count * (2 if is_guided else 1)
        case _:
            batch = count
    rows, columns = _latent_size(bundle, height, width)
    sizes = {"batch_size": batch, LATENT_BATCH: count, "height": rows, "width": columns}
    sizes |= family.symbol_sizes(bundle.config)
    sizes |= side_sizes(bundle.component(component).inputs, rows, columns)
    if family.role(component) is Role.IMAGE_ENCODER:
        factor = geometry_of(bundle).vae_factor
        sizes |= {"height": rows * factor, "width": columns * factor}
    return {
        spec.name: tuple(sizes.get(dim, 1) if isinstance(dim, str) else dim for dim in spec.dims)
        for spec in bundle.component(component).inputs
    }


def _latent_size(bundle: Bundle, height: int | None, width: int | None) -> tuple[int, int]:
    geometry, record = geometry_of(bundle), bundle.manifest.calibration
    if record is not None:
        height = record.latent_shape[1] * geometry.vae_factor if height is None else height
        width = record.latent_shape[2] * geometry.vae_factor if width is None else width
    _, rows, columns = geometry.latent_shape(height, width)  # or refuses
    return rows, columns
