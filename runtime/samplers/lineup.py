"""The samplers there are. To add one: write its file, add it to this tuple, and test it against an oracle.

| name            | method                            | order | model calls | noise | Karras | zero SNR | clips |
|-----------------|-----------------------------------|-------|-------------|-------|--------|----------|-------|
| ddim            | DDIM, eta = 0                     | 1     | 1 a step    | no    | no     | yes      | yes   |
| ddpm            | DDPM, small variance              | 1     | 1 a step    | yes   | no     | yes      | yes   |
| pndm            | PLMS (PNDM, skip_prk_steps)       | 4     | 1, 2 first  | no    | no     | no       | no    |
| lms             | linear multistep                  | 4     | 1 a step    | no    | yes    | no       | no    |
| euler           | Euler                             | 1     | 1 a step    | no    | yes    | yes      | no    |
| euler-ancestral | Euler a                           | 1     | 1 a step    | yes   | no     | yes      | no    |
| heun            | Heun                              | 2     | 2, 1 last   | no    | yes    | no       | yes   |
| dpmpp-2m        | DPM-Solver++(2M)                  | 2     | 1 a step    | no    | yes    | yes      | no    |
| dpmpp-2m-sde    | SDE-DPM-Solver++(2M)              | 2     | 1 a step    | yes   | yes    | yes      | no    |
| dpmpp-2s        | DPM-Solver++(2S), evenly spaced   | 2     | 1 a step    | no    | yes    | no       | no    |
| unipc           | UniPC, bh2                        | 2     | 1 a step    | no    | yes    | yes      | no    |
| lcm             | latent consistency, own timesteps | 1     | 1 a step    | yes   | no     | yes      | yes   |
| flow-euler      | Euler, models of flow matching    | 1     | 1 a step    | no    | yes    | no       | no    |

"noise" is new noise in every step. "Karras" (use_karras_sigmas) and "zero SNR" (rescale_betas_zero_snr) are refused by
name where the table has a no; clip_sample has no effect there, as in diffusers.
"""

from mezzotint.errors import MezzotintError

from .ddim import DDIM
from .ddpm import DDPM
from .dpmpp_2m import DPMPP_2M
from .dpmpp_2m_sde import DPMPP_2M_SDE
from .dpmpp_2s import DPMPP_2S
from .euler import EULER
from .euler_ancestral import EULER_ANCESTRAL
from .flow_euler import FLOW_EULER
from .heun import HEUN
from .lcm import LCM
from .lms import LMS
from .pndm import PNDM
from .sampler import Sampler
from .unipc import UNIPC

__all__ = ["SAMPLERS", "find_sampler"]

SAMPLERS: tuple[Sampler, ...] = (
    DDIM,
    DDPM,
    PNDM,
    LMS,
    EULER,
    EULER_ANCESTRAL,
    HEUN,
    DPMPP_2M,
    DPMPP_2M_SDE,
    DPMPP_2S,
    UNIPC,
    LCM,
    FLOW_EULER,
)


def find_sampler(name: str) -> Sampler:
    """The sampler called `name`. Raises MezzotintError that lists the known names."""
    for sampler in SAMPLERS:
        if sampler.name == name:
            return sampler
    raise MezzotintError(f"there is no sampler {name!r}; choose one of {', '.join(s.name for s in SAMPLERS)}")
