"""A disk without room as a sentence, whichever of the many calls that write met it."""

import errno
import os

from .errors import MezzotintError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: beyond what the user, or the file system, allows a file


def disk_full_error(error: BaseException | None) -> MezzotintError | None:
    """The error to raise when a full disk, or a quota, is behind `error` or what caused it; None when it is not."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            name = error.filename2 or error.filename
            what = os.fsdecode(name) if isinstance(name, str | bytes) else "a file"
            return MezzotintError(
                f"there is no room to write {what} ({error.strerror}); free some space, or choose another output or "
                "TMPDIR"
            )
        error = error.__cause__ or error.__context__
    return None
