"""The errors a user can cause. Each message is one sentence: what, where, got, expected, what to do next."""

__all__ = ["Cancelled", "CheckFailed", "MezzotintError"]


class MezzotintError(Exception):
    """Input that cannot be used as given. The CLI prints the message and exits with `exit_code`."""

    exit_code = 2


class CheckFailed(MezzotintError):  # noqa: N818 -- it says what happened; "CheckFailedError" says it twice
    """The input was usable, but a promise did not hold: parity, hashes, kernels or a fidelity gate."""

    exit_code = 1


class Cancelled(MezzotintError):  # noqa: N818 -- nothing went wrong
    """`on_step` returned True: drawing stopped after that step, and nothing was decoded."""

    exit_code = 130
