"""How a pipeline opens the sessions of its bundle's graphs."""

from collections.abc import Mapping
from dataclasses import dataclass

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import Compute
from mezzotint.bundle.shallow import component_of
from mezzotint.cache import cache_folder
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import Choice
from mezzotint.engines.session import Session
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The bundle, its engine, the precision that was asked for by role, threads, and whether memory is to be saved."""

    bundle: Bundle
    choice: Choice
    asked: Mapping[Role, Compute]
    threads: int | None
    low_memory: bool

    def __call__(self, name: str) -> Session:
        """Open a graph by its name. MezzotintError where the engine cannot."""
        component, engine = self.bundle.component(name), self.choice.engine
        role = family_of(self.bundle).role(component_of(name))
        compute = self.asked.get(role) or engine.precision_for(component.compute)
        is_frugal = self.low_memory or role is Role.DENOISER
        options = EngineOptions(compute, self.threads, cache_folder(engine.name), frugal=is_frugal)
        return Session.open(name, self.bundle.graph_path(name), component, engine, options)
