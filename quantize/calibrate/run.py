"""How a calibration is run, which changes no figure: what says how far it is, and how much memory it may take."""

from dataclasses import dataclass

from mezzotint.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class CalibrationRun:
    """With `memory_limit_bytes` fewer tensors are looked at a time; None: all at once."""

    progress: Progress = silent
    memory_limit_bytes: int | None = None
