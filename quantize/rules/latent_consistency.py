"""What of a latent consistency model is quantized: what is of Stable Diffusion, whose layers it has.

The projection of the guidance scale is part of the time embedding, and stays in floats with it.
"""

from .rule import FamilyRules
from .stable_diffusion import STABLE_DIFFUSION

LATENT_CONSISTENCY = FamilyRules("latent-consistency", STABLE_DIFFUSION.by_role)
