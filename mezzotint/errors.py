"""The errors a user can cause. Each message is one sentence: what, where, got, expected, what to do next."""

from collections.abc import Iterable

_LONGEST_VALUE = 60  # characters of what was given that the sentence repeats


class MezzotintError(Exception):
    """Input that cannot be used as given. The CLI prints the message and exits with `exit_code`.

    Give the parts, and `str()` is the sentence "where: what is got, expected a or b; advice", without the parts that
    are None. `expected` is a text, or the names to choose from. A whole sentence may be given instead of parts.
    """

    exit_code = 2

    def __init__(
        self,
        sentence: str = "",
        *,
        what: str | None = None,
        where: object = None,
        got: object = None,
        expected: str | Iterable[str] | None = None,
        advice: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected if expected is None or isinstance(expected, str) else tuple(expected)
        self.advice = advice
        super().__init__(sentence or self._composed())  # in `args`, so that a copy from another process says the same

    def _composed(self) -> str:
        place = "" if self.where is None else f"{self.where}: " if self.what else f"{self.where}"
        verb = " is " if self.what or self.where is not None else "got "
        value = "" if self.got is None else f"{verb}{self.got!r:.{_LONGEST_VALUE}}"
        wanted = self.expected if self.expected is None or isinstance(self.expected, str) else _either(self.expected)
        sentence = f"{place}{self.what or ''}{value}"
        sentence += "" if wanted is None else f", expected {wanted}"
        return sentence + ("" if self.advice is None else f"; {self.advice}")


class CheckFailed(MezzotintError):  # noqa: N818 -- it says what happened; "CheckFailedError" says it twice
    """The input was usable, but a promise did not hold: parity, hashes, kernels or a fidelity gate."""

    exit_code = 1


class Cancelled(MezzotintError):  # noqa: N818 -- nothing went wrong
    """`on_step` returned True: generation stopped after that step, and nothing was decoded."""

    exit_code = 130


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
