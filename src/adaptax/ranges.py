"""The ranges of what users set: a field's range stands in its annotation, `tasks: Annotated[int, at_least(1)] = 20`."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from .types import UserError


class Range(NamedTuple):
    """low ≤ value ≤ high (`above`, `below`: strictly); None: no limit."""

    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False


def at_least(low: float) -> Range:
    """low ≤ value."""
    return Range(low)


def above(low: float) -> Range:
    """low < value."""
    return Range(low, above=True)


def at_most(high: float) -> Range:
    """value ≤ high."""
    return Range(high=high)


def between(low: float, high: float) -> Range:
    """low ≤ value ≤ high."""
    return Range(low, high)


def check_ranges(settings: Any) -> None:
    """Raise a `UserError` unless every field of a dataclass is in the ranges of its annotation: of a tuple each entry,
    of a `Literal` one of its values; None passes."""
    for name, ranges, choices in _annotated(type(settings)):
        value = getattr(settings, name)
        if choices and value not in choices:
            raise UserError(f"{name.replace('_', '-')} is {value!r}; it must be one of {', '.join(choices)}")
        for one in value if isinstance(value, tuple | list) else (value,):
            for limits in ranges:
                check_range(name, one, limits.low, limits.high, above=limits.above, below=limits.below)


@cache
def _annotated(kind: type) -> tuple[tuple[str, tuple[Range, ...], tuple[str, ...]], ...]:
    """The fields of a dataclass that have ranges or choices: name, ranges, choices."""
    hints, found = get_type_hints(kind, include_extras=True), []
    for name in (field.name for field in fields(kind)):
        hint, ranges, choices = hints[name], (), ()
        if get_origin(hint) is Annotated:
            ranges = tuple(x for x in hint.__metadata__ if isinstance(x, Range))
        elif get_origin(hint) is Literal:
            choices = get_args(hint)
        if ranges or choices:
            found.append((name, ranges, choices))
    return tuple(found)


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
