"""How every program of ours ends: what a user can cause is one sentence on stderr and an exit code, never a traceback.

Exit codes: 0 done, 1 a check failed, 2 the user's input, 130 interrupted. This needs no more than the base install.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mezzotint.disk_full import disk_full_error
from mezzotint.errors import MezzotintError

from .lines.one_line import one_line

_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR)
_LONGEST_PATH = 300  # characters that the sentence repeats


@contextmanager
def exit_with_a_sentence(extra: str | None = None, *, if_interrupted: str = "interrupted") -> Iterator[None]:
    """End the program where the body fails by the user's doing; `extra` is what `pip` brings the body's packages with.

    A ModuleNotFoundError of a package of others' is such a failure where `extra` is given.
    """
    try:
        yield
    except MezzotintError as error:
        _end(error)
    except OSError as error:
        told = disk_full_error(error) or _path_error(error)
        if told is None:
            raise
        _end(told)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("mezzotint"):
            raise
        _end(MezzotintError(f"{error.name} is not installed; install it with `pip install 'mezzotint[{extra}]'`"))
    except KeyboardInterrupt:
        _end(if_interrupted, 130)


def _path_error(error: OSError) -> MezzotintError | None:
    """What the system says of a path that was given: too long, links in a circle, not to be read; None for all else."""
    if error.errno not in _PATHS or not isinstance(error.filename, str | bytes):
        return None
    shown = os.fsdecode(error.filename)
    name = shown if len(shown) <= _LONGEST_PATH else f"{shown[:_LONGEST_PATH]}..."
    return MezzotintError(f"{name} cannot be used ({error.strerror}); choose another path, or change who may use it")


def _end(error: MezzotintError | str, code: int | None = None) -> NoReturn:
    sys.stderr.write(f"mezzotint: {one_line(str(error))}\n")
    sys.exit(code if code is not None or isinstance(error, str) else error.exit_code)
