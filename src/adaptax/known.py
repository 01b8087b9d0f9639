"""What is known of a benchmark in numbers: references that are no strategies, and published figures."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """A reference that is a number: a bound that follows from the rewards, or what an agent reached that was told the
    task."""

    name: str
    episode: float
    """The mean return of an episode on the test tasks; of a bound on any tasks."""
    source: str
    """Why it is a bound; or how it was reached, with its budget and its seeds."""
    bounds: bool = True
    """Whether it is a bound, and so holds on every split; what was reached holds on the test tasks alone."""


class Published(NamedTuple):
    """A published figure: the total of a trial, or the return by round."""

    name: str
    source: str
    total: float | None = None
    by_round: tuple[float, ...] = ()
