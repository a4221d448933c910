"""How much of each live adapter a call wants, and sessions whose graphs are told."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mezzotint.adapters.given import MOST_SCALE
from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.live import SCALE_INPUT
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError

from .settings import Settings
from .text.networks import take_loras

_WEIGHTED = "weighted"


def told_scales(bundle: Bundle, settings: Sequence[Settings]) -> FloatArray:
    """The scale of each of the bundle's live adapters (n,), by the settings' `loras` and what the prompts ask for.

    One that nobody names is off. Raises MezzotintError for a name that the bundle does not have, for one that is asked
    for both ways, and for prompts of a batch that ask for different ones.
    """
    asked = [_asked(one) for one in settings]
    other = next((one for one in asked if one != asked[0]), None)
    if other is not None:
        raise MezzotintError(
            f"prompts of one batch ask for other adapters, {_said(asked[0])} and {_said(other)}; generate them alone"
        )
    known = [one.name for one in bundle.manifest.live]
    for name, scale in asked[0].items():
        if name not in known:
            raise MezzotintError(
                what=f"the live adapter {name!r:.60}",
                where=bundle.path,
                expected=known or "none, as the bundle has no live adapters",
                advice="add it with `mezzotint lora --live`",
            )
        if not math.isfinite(scale) or abs(scale) > MOST_SCALE:
            raise MezzotintError(f"the scale of {name} is {scale:g}, expected -{MOST_SCALE:g} to {MOST_SCALE:g}")
    return np.array([asked[0].get(name, 0.0) for name in known], dtype=np.float32)


def without_networks(settings: Settings) -> Settings:
    """With the prompt that the text encoder reads: in the weighted syntax adapters stand in it that are no words."""
    if settings.prompt_syntax != _WEIGHTED:
        return settings
    return replace(settings, prompt=take_loras(settings.prompt)[0])


def _asked(settings: Settings) -> dict[str, float]:
    prompted = take_loras(settings.prompt)[1] if settings.prompt_syntax == _WEIGHTED else {}
    twice = sorted(prompted.keys() & settings.loras.keys())
    if twice:
        raise MezzotintError(f"{twice[0]!r:.60} stands in the prompt and among the loras; give its scale once")
    return {**settings.loras, **prompted}


def _said(scales: Mapping[str, float]) -> str:
    return ", ".join(f"{name} at {scale:g}" for name, scale in scales.items()) or "none"


class ToldSessions(Mapping[str, Session]):
    """`sessions` whose graphs are told `scales` where they have an input for them; others are as they are."""

    def __init__(self, sessions: Mapping[str, Session], scales: FloatArray) -> None:
        self._sessions = sessions
        self._scales = scales

    def __getitem__(self, name: str) -> Session:
        session = self._sessions[name]
        is_told = any(spec.name == SCALE_INPUT for spec in session.component.inputs)
        return _ToldSession(session, self._scales) if is_told else session

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)


class _ToldSession(Session):
    """A session that is fed the scales besides; it is another's, and not closed through this one.

    Its component is that of the graph without the input, as whoever feeds it knows it.
    """

    def __init__(self, session: Session, scales: FloatArray) -> None:
        own = tuple(spec for spec in session.component.inputs if spec.name != SCALE_INPUT)
        self.name = session.name
        self.component = replace(session.component, inputs=own)
        self.precision = session.precision
        self._session = session
        self._scales = scales

    def close(self) -> None:
        """Nothing: it is the other's."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name."""
        return self._session.run({**feeds, SCALE_INPUT: self._scales})
