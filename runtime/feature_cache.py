"""DeepCache (Ma, Fang and Wang 2024): what a denoiser's inside said is taken for what it would say in the calls after.

Every N-th call runs the deep graph, which is the whole denoiser, and keeps its feature; those between run the shallow
graph, which reads that. Calls are counted, not steps: with a sampler of two calls a step, such as heun, an interval of
2 has the first of each step whole. Nothing is kept from one run to the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.shallow import deep_name, shallow_name
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of


@dataclass
class Turns:
    """Of one run: which calls are whole, every `interval`-th and those that the last whole one says too little for."""

    interval: int
    _rows: int = field(default=0, init=False)  # of the last whole call
    _age: int = field(default=0, init=False)  # in calls

    def is_whole(self, rows: int) -> bool:
        """Of the next call, in which there are so many `rows`; to be asked once for each, in their order."""
        is_due = self._age >= self.interval or rows > self._rows
        self._age, self._rows = (1, rows) if is_due else (self._age + 1, self._rows)
        return is_due


@dataclass
class FeatureCache:
    """Of one run: the session of the shallow graph, and whose turn it is."""

    shallow: Session
    turns: Turns
    _feature: Array | None = field(default=None, init=False)  # (rows, C, h, w)

    def run(self, deep: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of the graph whose turn it is, for the feeds of the whole denoiser.

        Where guidance goes off the feature's rows of the prompts are taken, which are the last ones; where it comes on
        and there are none of the negative prompts, the call is whole.
        """
        rows = max(len(array) for array in feeds.values() if array.ndim)
        name = deep.component.outputs[-1].name
        if self.turns.is_whole(rows) or self._feature is None:
            outputs = deep.run(feeds)
            self._feature = outputs[name]
            return outputs
        read = {spec.name for spec in self.shallow.component.inputs}
        own = {other: array for other, array in feeds.items() if other in read}
        return self.shallow.run({**own, name: self._feature[-rows:]})


def check_cache_interval(bundle: Bundle, interval: int) -> None:
    """MezzotintError where a run is to skip the inside of a denoiser that has no shallow graph, or for less than 1."""
    if interval < 1:
        raise MezzotintError(what="cache_interval", got=interval, expected="1 or more; 1 caches nothing")
    denoiser = family_of(bundle).denoiser
    if interval > 1 and bundle.component(denoiser).shallow is None:
        raise MezzotintError(
            where=bundle.path,
            what="cache_interval",
            got=interval,
            expected=f"1, as its {denoiser} has no shallow graph",
            advice="make a bundle with `mezzotint quantize --approximate deep-cache`, or leave the interval away",
        )


def graphs_of_run(bundle: Bundle, interval: int) -> tuple[str, ...]:
    """The denoiser's graphs that a run with that interval calls, the whole one first; it was checked."""
    denoiser = family_of(bundle).denoiser
    return (denoiser,) if interval == 1 else (deep_name(denoiser), shallow_name(denoiser))


def graphs_to_load(bundle: Bundle, components: Sequence[str], interval: int | None) -> list[str]:
    """What runs with that interval call of `components`; None is the bundle's own. MezzotintError as for a run."""
    interval = bundle.defaults().cache_interval if interval is None else interval
    check_cache_interval(bundle, interval)
    own = {family_of(bundle).denoiser: graphs_of_run(bundle, interval)}
    return [graph for name in components for graph in own.get(name, (name,))]


def open_cache(bundle: Bundle, sessions: Mapping[str, Session], interval: int) -> FeatureCache | None:
    """For a run that was checked; None where each call runs the whole denoiser."""
    _, *shallow = graphs_of_run(bundle, interval)
    return FeatureCache(sessions[shallow[0]], Turns(interval)) if shallow else None
