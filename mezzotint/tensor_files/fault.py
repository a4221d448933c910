"""What is wrong with a file, while nobody has said yet which file it is."""

_AGAIN = "download it again"


class FaultError(Exception):
    """`what` goes on from the file's path, as "was cut off"; `advice` says what to do. Whoever opens the file tells it.

    Raised for everything that a file can contain, so that nothing else has to be caught around a reader.
    """

    def __init__(self, what: str, advice: str = _AGAIN) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


def damaged(reason: str) -> FaultError:
    """The fault of bytes that make no sense: nobody meant them so."""
    return FaultError(f"is damaged ({reason})")
