"""Numbers as they are written on a command line and in suites."""

from fractions import Fraction


def number(written: str) -> float:
    """Return a number that is written as one, or as a fraction of two: "8/255".

    Raises:
        ValueError: it is neither, or too large.
    """
    try:
        return float(Fraction(written))
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{written!r} is no number: {error}") from error
