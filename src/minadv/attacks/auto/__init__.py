"""Auto, and its parts: rounds → explorer → exploration → aiming → refinement → nearest, secants, shaped."""

from minadv.attacks.auto.attack import Auto

__all__ = ["Auto"]
