"""How close two runs are before the VAE decoder: cheap, deterministic, and free of what an image hides.

The eps figures are teacher-forced: both UNets are fed the reference's states, so each step shows the error of one call.
"""

from collections.abc import Sequence

from mezzotint.arrays import FloatArray
from mezzotint.decibel import sqnr_db

from ..figures.bootstrap import quantile
from .metric import Generation, NotComputedError

_NOT_FORCED = "its UNet was not run on the reference's trajectory"


def latent_sqnr_db(reference: Generation, test: Generation) -> float:
    """SQNR of the final latent, each run free on its own trajectory: errors of all steps, added up."""
    if reference.latents is None or test.latents is None:
        raise NotComputedError("it does not hand out its final latent")
    return sqnr_db(reference.latents, test.latents)


def eps_sqnr_db_per_step(reference: Generation, test: Generation) -> list[float]:
    """SQNR of the guided UNet output at each of S steps."""
    if reference.guided is None or test.guided is None:
        raise NotComputedError(_NOT_FORCED)
    return _per_step(reference.guided, test.guided)


def eps_sqnr_db(reference: Generation, test: Generation) -> float:
    """The median over steps."""
    return quantile(eps_sqnr_db_per_step(reference, test), 0.5)


def eps_cond_sqnr_db_per_step(reference: Generation, test: Generation) -> list[float]:
    """SQNR of the prompt's half of the UNet output at each of S steps."""
    wanted, got = _outputs(reference), _outputs(test)
    return _per_step(wanted[:, -1], got[:, -1])


def eps_cond_sqnr_db(reference: Generation, test: Generation) -> float:
    """The median over steps."""
    return quantile(eps_cond_sqnr_db_per_step(reference, test), 0.5)


def eps_uncond_sqnr_db_per_step(reference: Generation, test: Generation) -> list[float]:
    """SQNR of the negative prompt's half of the UNet output at each of S steps."""
    wanted, got = _outputs(reference), _outputs(test)
    if wanted.shape[1] == 1:
        raise NotComputedError("the run has no guidance, so there is no negative half")
    return _per_step(wanted[:, 0], got[:, 0])


def eps_uncond_sqnr_db(reference: Generation, test: Generation) -> float:
    """The median over steps."""
    return quantile(eps_uncond_sqnr_db_per_step(reference, test), 0.5)


def _outputs(generation: Generation) -> FloatArray:
    if generation.outputs is None:
        raise NotComputedError(_NOT_FORCED)
    return generation.outputs


def _per_step(wanted: Sequence[FloatArray] | FloatArray, got: Sequence[FloatArray] | FloatArray) -> list[float]:
    return [sqnr_db(reference, test) for reference, test in zip(wanted, got, strict=True)]
