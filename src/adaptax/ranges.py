"""The ranges of what users set."""

from __future__ import annotations

import math

from .types import UserError


def check_range(
    name: str,
    value: float | int | None,
    low: float | None = None,
    high: float | None = None,
    *,
    above: bool = False,
    below: bool = False,
) -> None:
    """Raise a `UserError` unless low ≤ value ≤ high (`above`, `below`: strictly); None passes."""
    if value is None:
        return
    bad = (
        math.isnan(value)
        or (low is not None and (value <= low if above else value < low))
        or (high is not None and (value >= high if below else value > high))
    )
    if bad:
        left = "" if low is None else f"{low:g} {'<' if above else '≤'} "
        right = "" if high is None else f" {'<' if below else '≤'} {high:g}"
        raise UserError(f"{name.replace('_', '-')} is {value}; it must satisfy {left}{name.replace('_', '-')}{right}")
