"""Other libraries, silenced while they work: what they warn of is checked here, or none of the user's business."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# A library that sets its logger's level when it is imported leaves these alone, which speak during the import.
_OWN_LEVEL: Mapping[str, tuple[str, ...]] = {"diffusers": ("diffusers.utils.import_utils",)}


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """No warnings, and only errors from the loggers of these names, which need not exist yet."""
    found = [logging.getLogger(name) for logger in loggers for name in (logger, *_OWN_LEVEL.get(logger, ()))]
    levels = [logger.level for logger in found]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in found:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(found, levels, strict=True):
                logger.setLevel(level)
