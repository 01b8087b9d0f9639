"""Tables as text: numbers with sensible digits, aligned as Markdown or for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .records import Evaluation, Published, Reference
from .statistics import Interval, over_seeds

MISSING = "–"
SPACE = "\N{NO-BREAK SPACE}"  # between thousands, and before a unit
MINUS = "\N{MINUS SIGN}"


class Table(NamedTuple):
    """Cells of text; the first column is set left, the others right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, its columns aligned in the source too."""
    header, *rows = [tuple(c.replace("|", "\\|") for c in row) for row in (table.header, *table.rows)]
    widths = _widths(header, rows)
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_aligned(header, widths), rule, *(_aligned(row, widths) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def plain(table: Table) -> str:
    """The table for a terminal."""
    widths = _widths(table.header, table.rows)
    lines = [_aligned(row, widths) for row in (table.header, *table.rows)]
    lines.insert(1, ["─" * width for width in widths])
    return "\n".join("  ".join(cells).rstrip() for cells in lines)


def number(value: float | None, half: float | None = None, digits: int = 4) -> str:
    """`value` to `digits` significant digits, or as far as two digits of its interval's half-width `half`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if half is None or not math.isfinite(half) or half < 0:
        return fixed(value, _decimals(value, digits))
    if half == 0:  # every seed, or every task, gave the same
        return number(value, digits=digits)
    decimals = min(4, _decimals(half, 2))
    return f"{fixed(value, decimals)} ± {fixed(half, decimals)}"


def fixed(value: float, decimals: int) -> str:
    """`value` with that many decimals, a true minus sign and no-break spaces between thousands."""
    text = f"{value:,.{decimals}f}".replace(",", SPACE)
    if text.startswith("-"):  # −0.00 is 0.00
        text = MINUS + text[1:] if any(c in "123456789" for c in text) else text[1:]
    return text


def quoted(value: float | None) -> str:
    """A published figure with the digits it was published with: −40.4, 6.7."""
    if value is None:
        return MISSING
    text = f"{value:.10g}"
    return fixed(value, len(text.partition(".")[2]) if "e" not in text else 0)


def amount(value: float | None) -> str:
    """A count in three digits and a magnitude: 250 k, 1.5 M, 2 G."""
    if value is None or not math.isfinite(value):
        return MISSING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:  # 999 999 is 1 M, not 1 000 k
            return f"{value / size:.3g}".replace("-", MINUS) + SPACE + letter
    return f"{value:.3g}".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    size, unit = next(((s, u) for s, u in ((1, "s"), (60, "min")) if seconds < 99.5 * s), (3600, "h"))
    return f"{seconds / size:.{0 if seconds >= 9.95 * size else 1}f}{SPACE}{unit}"


def settings(values: Mapping[str, Any]) -> str:
    """`arms 5, pulls 10`."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def chosen_points(points: int, limit: int) -> tuple[int, ...]:
    """Which of K points to show when at most `limit` fit: all, or the first, the last, and 1-2-5 between."""
    if points <= limit:
        return tuple(range(points))
    steps = [m * 10**e for e in range(len(str(points))) for m in (1, 2, 5) if m * 10**e <= points]
    inner = [step - 1 for step in steps if step < points][: max(limit - 1, 0)]
    return (*inner, points - 1)


def evaluation_table(evaluations: Sequence[Evaluation], labels: Sequence[str] = (), limit: int = 6) -> Table:
    """Agents, reference strategies and published figures, by point of the adaptation curve and in total.

    All of one benchmark and split. ± is the 95 % interval over seeds (over tasks when there is one seed). The last
    column is the share of the way from random play to the best reference, where that is defined.
    """
    longest = max(evaluations, key=lambda e: e.points)
    shown = chosen_points(longest.points, limit)
    totals = any(e.has_total for e in evaluations)
    agents = [
        _agent_row(e, label, shown, totals)
        for e, label in zip(evaluations, labels or [e.algorithm for e in evaluations], strict=True)
    ]
    references, published = unique_references(evaluations), unique_published(evaluations)
    rows = [*agents, *(_reference_row(r, shown, totals) for r in references)]
    rows += [_published_row(p, shown, totals) for p in published]
    header = ("", *(longest.point_labels()[k] for k in shown), *(("total per trial",) if totals else ()))
    way = next((e for e in evaluations if e.share() is not None), None)
    best = None if way is None else way.best()
    if way is None or best is None:
        return Table(header, tuple(rows))
    shares = [*map(_share, evaluations), *(_percent(way.share_of(way.reached(r))) for r in references)]
    shares += [_percent(way.share_of(_reached(p, way))) for p in published]
    with_shares = (row + (share,) for row, share in zip(rows, shares, strict=True))
    return Table((*header, f"% from random to {best.name}"), tuple(with_shares))


def sources(evaluations: Sequence[Evaluation]) -> str:
    """Where the published rows come from, and references that are numbers, as one line; empty without any."""
    named = dict.fromkeys(p.source for p in unique_published(evaluations) if p.source)
    lines = [f"{r.name}: {r.source}." for r in unique_references(evaluations) if r.source]
    return " ".join([*lines, *([f"Published figures: {'; '.join(named)}."] if named else [])])


def success_table(evaluations: Sequence[Evaluation], labels: Sequence[str] = (), limit: int = 6) -> Table | None:
    """Shares of episodes in per cent, along the adaptation curve, that had a success in any step and, where that is
    another share, in the last; None when no evaluation knows success."""
    longest = max(evaluations, key=lambda e: e.points)
    shown = chosen_points(longest.points, limit)
    rows = []
    for evaluation, label in zip(evaluations, labels or [e.algorithm for e in evaluations], strict=True):
        curve, final = evaluation.success_curve(), evaluation.final_success_curve()
        named = ((label if final is None else f"{label}, any step", curve), (f"{label}, last step", final))
        rows += [(name, *_cells(over_seeds(100 * c), shown)) for name, c in named if c is not None]
    header = ("", *(longest.point_labels()[k] for k in shown))
    return Table(header, tuple(rows)) if rows else None


def unique_references(evaluations: Sequence[Evaluation]) -> tuple[Reference, ...]:
    """The reference strategies of all evaluations; each name once, the first that has it."""
    return tuple({r.name: r for e in reversed(evaluations) for r in reversed(e.references)}.values())[::-1]


def unique_published(evaluations: Sequence[Evaluation]) -> tuple[Published, ...]:
    """The published figures of all evaluations; each name once, the first that has it."""
    return tuple({p.name: p for e in reversed(evaluations) for p in reversed(e.published)}.values())[::-1]


def _share(evaluation: Evaluation) -> str:
    share = evaluation.share()
    if share is None:
        return MISSING
    interval = over_seeds(100 * share)
    return number(float(interval.mean), float(interval.half))


def _percent(share: float | None) -> str:
    return MISSING if share is None else fixed(100 * share, 1)


def _reached(published: Published, evaluation: Evaluation) -> float | None:
    """What a published figure is compared by, where it is the same as for agents."""
    if evaluation.judged_by_success:
        return None
    if evaluation.has_total or evaluation.points == 1 and not published.by_round:
        return published.total
    return published.by_round[-1] if len(published.by_round) == evaluation.points else None


def _agent_row(evaluation: Evaluation, label: str, shown: Sequence[int], totals: bool) -> tuple[str, ...]:
    cells = _cells(over_seeds(evaluation.curve()), shown)
    total = evaluation.totals()
    if total is not None:
        interval = over_seeds(total)
        cells.append(number(float(interval.mean), float(interval.half)))
    elif totals:
        cells.append(MISSING)
    lost = evaluation.lives_that_diverged
    return (f"{label} ({lost}, and count as random play from there on)" if lost else label, *cells)


def _reference_row(reference: Reference, shown: Sequence[int], totals: bool) -> tuple[str, ...]:
    cells = [number(float(reference.mean[k])) if k < reference.mean.size else MISSING for k in shown]
    return (reference.name, *cells, *((number(reference.total),) if totals else ()))


def _published_row(published: Published, shown: Sequence[int], totals: bool) -> tuple[str, ...]:
    by_round = published.by_round
    if not by_round and not totals and len(shown) == 1 and published.total is not None:
        by_round = (published.total,)  # a trial of one episode: its total is its only point
    cells = [quoted(by_round[k]) if k < len(by_round) else MISSING for k in shown]
    name = f"published: {published.name}"
    return (name, *cells, *((quoted(published.total),) if totals else ()))


def _cells(interval: Interval, shown: Sequence[int]) -> list[str]:
    mean, half = interval.mean, interval.half
    return [number(float(mean[k]), float(half[k])) if k < mean.size else MISSING for k in shown]


def _decimals(value: float, digits: int) -> int:
    """Decimals that leave `digits` significant digits, after rounding (9.999 to three is 10.0)."""
    if value == 0:
        return 0
    exponent = int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
    return max(0, digits - 1 - exponent)


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(3, *(len(row[k]) for row in (header, *rows))) for k in range(len(header))]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
