"""How every program of ours ends: what a user can cause is one sentence on stderr and an exit code, never a traceback.

Exit codes: 0 done, 1 a check failed, 2 the user's input, 130 interrupted. This needs no more than the base install.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mezzotint.disk_full import disk_full_error
from mezzotint.errors import MezzotintError


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
        full = disk_full_error(error)
        if full is None:
            raise
        _end(full)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("mezzotint"):
            raise
        _end(MezzotintError(f"{error.name} is not installed; install it with `pip install 'mezzotint[{extra}]'`"))
    except KeyboardInterrupt:
        _end(if_interrupted, 130)


def _end(error: MezzotintError | str, code: int | None = None) -> NoReturn:
    sys.stderr.write(f"mezzotint: {error}\n")
    sys.exit(code if code is not None or isinstance(error, str) else error.exit_code)
