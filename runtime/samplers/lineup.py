"""The samplers there are. To add one: write its file, add it to this tuple, and test it against an oracle.

| name            | method                            | order | model calls | noise | respaced | zero SNR | limits x0  |
|-----------------|-----------------------------------|-------|-------------|-------|----------|----------|------------|
| ddim            | DDIM                              | 1     | 1 a step    | eta   | no       | yes      | both       |
| ddpm            | DDPM, fixed variances             | 1     | 1 a step    | yes   | no       | yes      | both       |
| pndm            | PLMS (PNDM, skip_prk_steps)       | 4     | 1, 2 first  | no    | no       | no       | no         |
| lms             | linear multistep                  | 4     | 1 a step    | no    | yes      | no       | no         |
| euler           | Euler                             | 1     | 1 a step    | no    | yes      | yes      | no         |
| euler-ancestral | Euler a                           | 1     | 1 a step    | yes   | no       | yes      | no         |
| heun            | Heun                              | 2     | 2, 1 last   | no    | yes      | no       | clips      |
| dpmpp-2m        | DPM-Solver++ and DPM-Solver       | 1-3   | 1 a step    | no    | and Lu's | yes      | thresholds |
| dpmpp-2m-sde    | the same on the SDE               | 1-3   | 1 a step    | yes   | and Lu's | yes      | thresholds |
| dpmpp-2s        | the same in single steps          | 1-3   | 1 a step    | no    | yes      | no       | thresholds |
| unipc           | UniPC, bh1 and bh2                | any   | 1 a step    | no    | yes      | yes      | thresholds |
| deis            | DEIS, log rho                     | 1-3   | 1 a step    | no    | yes      | no       | thresholds |
| lcm             | latent consistency, own timesteps | 1     | 1 a step    | yes   | no       | yes      | both       |
| tcd             | trajectory consistency, likewise  | 1     | 1 a step    | eta   | no       | yes      | no         |
| flow-euler      | Euler, models of flow matching    | 1     | 1 a step    | no    | yes      | no       | no         |

"noise" is new noise in every step; with "eta" the option says how much, 0 where nobody chose with ddim and 0.3 with
tcd. "respaced" has Karras's, exponential and beta levels, and "limits x0" clip_sample,
thresholding or both: where the table has a no they have no effect, as in diffusers. Zero SNR (rescale_betas_zero_snr)
is how the model was trained, and refused by name where the table has a no. The solvers' order is their solver_order,
which is 2 where the file has none.
"""

from mezzotint.errors import MezzotintError

from .ddim import DDIM
from .ddpm import DDPM
from .deis import DEIS
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
from .tcd import TCD
from .unipc import UNIPC

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
    DEIS,
    LCM,
    TCD,
    FLOW_EULER,
)


def find_sampler(name: str) -> Sampler:
    """The sampler called `name`. Raises MezzotintError that lists the known names."""
    for sampler in SAMPLERS:
        if sampler.name == name:
            return sampler
    raise MezzotintError(f"there is no sampler {name!r}; choose one of {', '.join(s.name for s in SAMPLERS)}")
