"""The families that have rules for INT8."""

from collections.abc import Sequence

from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of
from mezzotint.runtime import Bundle

from .latent_consistency import LATENT_CONSISTENCY
from .rule import FamilyRules, Rule
from .stable_diffusion import STABLE_DIFFUSION
from .stable_diffusion_xl import STABLE_DIFFUSION_XL

FAMILY_RULES: tuple[FamilyRules, ...] = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL, LATENT_CONSISTENCY)


def rules_of(bundle: Bundle, component: str, nodes: Sequence[str]) -> tuple[Rule, ...]:
    """The rules for the `nodes` of a component; MezzotintError names the components that there are rules for."""
    family = family_of(bundle)
    by_role = next((rules.by_role for rules in FAMILY_RULES if rules.family == family.name), {})
    if family.role(component) not in by_role:
        known = [name for name, role in family.components.items() if role in by_role]
        raise MezzotintError(f"there are no INT8 rules for {component}; choose int8-weights, or int8 for {known}")
    return by_role[family.role(component)](nodes)
