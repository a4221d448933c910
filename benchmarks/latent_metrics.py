"""How close two runs are before the VAE decoder: cheap, deterministic, and free of what a picture hides."""

from mezzotint.runtime.decibel import sqnr_db

from .bootstrap import quantile
from .metric import Drawing, NotComputedError

__all__ = ["eps_sqnr_db", "eps_sqnr_db_per_step", "latent_sqnr_db"]


def latent_sqnr_db(reference: Drawing, test: Drawing) -> float:
    """SQNR of the final latent, each run free on its own trajectory: errors of all steps, added up."""
    return sqnr_db(reference.latents, test.latents)


def eps_sqnr_db_per_step(reference: Drawing, test: Drawing) -> list[float]:
    """SQNR of the guided UNet output at each of S steps, both fed the reference's states: the error of one call."""
    if reference.guided is None or test.guided is None:
        raise NotComputedError("the case was not run on the reference's trajectory: it has the same network")
    return [sqnr_db(wanted, got) for wanted, got in zip(reference.guided, test.guided, strict=True)]


def eps_sqnr_db(reference: Drawing, test: Drawing) -> float:
    """The median over steps."""
    return quantile(eps_sqnr_db_per_step(reference, test), 0.5)
