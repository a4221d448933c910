"""Whole numbers in texts that somebody gave, such as the 2 of "deep-cache:2".

`str.isdigit` takes signs that `int` does not, as "²", and `int` itself refuses texts of thousands of digits.
"""

_MOST_DIGITS = 30  # more than any number here has


def whole_number(text: str) -> int | None:
    """What ASCII digits say; None for another text, and for more than 30 of them."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return int(text)
