"""Write the results tables of the README and of docs/results.md from the result files in `benchmarks/results/`
(`make results`).

    python benchmarks/results.py            rewrite what stands between each page's two markers
    python benchmarks/results.py --check    change nothing; exit 1 when a page says something else

The README shows the results that `benchmarks/readme.json` names, each under a title that is short enough for its table;
docs/results.md shows all results in one table, and then all values and notes.

A result file is what a recipe wrote: a JSON object with `schema` 1, `recipe`, `title`, `metric`, `value`,
`ci95`, `seeds`, `tasks`, `environment_steps` (per seed), `seconds`, `published`, `bounds`, `target`, `met`,
and what is needed to repeat it (`command`, `versions`, `git`, `machine`). `rows` holds further values of the
same runs, such as the return after each gradient step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adaptax.report.tables import MISSING, Table, amount, duration, fixed, markdown, number, quoted

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHOWN = ROOT / "benchmarks" / "readme.json"  # name of a result file: its title in the README, in this order
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SPEED = ("environment steps/s", "gradient steps/s")  # what a rate counts
NEEDED = ("title", "metric", "seeds", "command")

Result = Mapping[str, Any]


class ResultsError(ValueError):
    """A result file or a README that cannot be used: one sentence that names it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Write the tables of results from the result files.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page differs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the result files")
    parser.add_argument("--shown", type=Path, default=SHOWN, help="file that names the README's results")
    parser.add_argument("--readme", type=Path, default=README, help="the page that shows those")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that shows everything")
    options = parser.parse_args(arguments)
    try:
        found = load(options.results)
        shown = chosen(found, options.shown)
        pages = ((options.readme, short_block(shown, found)), (options.page, block(found, options.page.parent)))
        texts = [(path, read(path), new) for path, new in pages]
        changed = [(path, old, replaced(old, new, path)) for path, old, new in texts]
    except ResultsError as error:
        print(f"results: {error}", file=sys.stderr)
        return 1
    for path, old, new in changed:
        if options.check and new != old:
            print(f"results: {path} differs from the result files; run `make results`", file=sys.stderr)
            return 1
        if new != old:
            path.write_text(new, "utf-8")
    return 0


def load(directory: Path) -> list[tuple[Path, Result]]:
    """All result files, in the order of their names with numbers read as numbers (10_5 before 10_10)."""
    paths = sorted(directory.glob("*.json"), key=lambda path: _natural(path.stem))
    return [(path, load_file(path)) for path in paths]


def load_file(path: Path) -> Result:
    """One result file, refused when it lacks a field or contradicts itself."""
    try:
        result = json.loads(read(path))
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(result, dict) or result.get("schema") != 1:
        raise ResultsError(f"{path} is not a result file of schema 1")
    missing = [name for name in NEEDED if name not in result]
    if missing:
        raise ResultsError(f"{path} lacks {', '.join(missing)}")
    if result.get("value") is None and not result.get("rows"):
        raise ResultsError(f"{path} has neither a value nor rows")
    for part in (result, *(result.get("rows") or ())):
        _check_target(part, path)
    return result


def chosen(results: Sequence[tuple[Path, Result]], path: Path) -> list[Result]:
    """The results that a file names, in its order, each with the title that it gives."""
    try:
        titles = json.loads(read(path))
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path} is not valid JSON ({error})") from None
    by_name = {found.stem: result for found, result in results}
    missing = [name for name in titles if by_name.get(name, {}).get("value") is None]
    if missing:
        raise ResultsError(f"{path} names {', '.join(missing)}, of which there is no result file with a value")
    return [{**by_name[name], "title": title} for name, title in titles.items()]


def short_block(shown: Sequence[Result], results: Sequence[tuple[Path, Result]]) -> str:
    """What stands between the README's markers: a line for each result shown, and how many targets are met in all."""
    rows = []
    for result in shown:
        source = (result.get("published_source") or "").partition(",")[0]  # who; the page says what else
        cells = _cells({**result, "published_source": source}, rate if result["metric"] in SPEED else number)
        rows.append((result["title"], result["metric"], *cells, str(len(result["seeds"]))))
    table = markdown(Table(("result", "metric", "ours", "others", "bound", "target", "seeds"), tuple(rows)))
    targets = [result["met"] for _, result in results if result.get("met") is not None]
    count = f"Of all {len(targets)} targets that were set for results, {sum(targets)} are met."
    return f"{table}\n\n{count}"


def block(results: Sequence[tuple[Path, Result]], base: Path) -> str:
    """All values, a section a result, and the notes."""
    quality, speed = _parted(results)
    valued = [(path, {**result, "rows": None}) for path, result in quality if result.get("value") is not None]
    parts = [LEGEND] if quality else []
    parts += ["## All results", markdown(quality_table(valued, base))] if valued else []
    for path, result in quality:
        parts += [f"## {result['title']}", markdown(quality_table([(path, result)], base))]
        parts += [f"{result['note'][0].upper()}{result['note'][1:].rstrip('.')}."] if result.get("note") else []
    parts += ["## Speed", markdown(speed_table(speed, base))] if speed else []
    notes = [f"- {result['title']}: {result['note']}" for _, result in speed if result.get("note")]
    parts += ["\n".join(notes)] if notes else []
    return "\n\n".join(parts) or "No results yet."


def _parted(results: Sequence[tuple[Path, Result]]) -> tuple[list[tuple[Path, Result]], list[tuple[Path, Result]]]:
    """Returns and the like, and speeds."""
    quality = [pair for pair in results if pair[1]["metric"] not in SPEED]
    return quality, [pair for pair in results if pair[1]["metric"] in SPEED]


LEGEND = (
    "± is the 95 % interval over seeds and held-out tasks. Environment steps and time are those of one seed's "
    "meta-training, adaptation data included. Each name links to its result file, with the command, the versions and "
    "the machine."
)


def quality_table(results: Sequence[tuple[Path, Result]], base: Path) -> Table:
    """What was reached, beside what was published and what is possible, and at what cost."""
    rows: list[tuple[str, ...]] = []
    for path, result in results:
        budget = (
            amount(result.get("environment_steps")),
            duration(result.get("seconds")),
            str(len(result["seeds"])),
            fixed(result["tasks"], 0) if result.get("tasks") else MISSING,
        )
        rows.append((_link(path, result, base), result["metric"], *_cells(result), *budget))
        rows += [(f"· {row['label']}", "", *_cells(row), *("",) * len(budget)) for row in result.get("rows") or ()]
    compared = ("ours", "published", "bound", "target")
    budget_names = ("environment steps", "time", "seeds", "held-out tasks")
    return Table(("result", "metric", *compared, *budget_names), tuple(rows))


def speed_table(results: Sequence[tuple[Path, Result]], base: Path) -> Table:
    """Environment steps a second of the whole meta-iteration, or what else the metric counts, and on which machine."""
    rows = []
    for path, result in results:
        ours, *rest = _cells(result, rate)
        if result["metric"] != SPEED[0]:
            ours += " " + result["metric"]
        rows.append((_link(path, result, base), ours, *rest, str(result.get("machine") or MISSING)))
    return Table(("speed", SPEED[0], "others", "bound", "target", "machine"), tuple(rows))


def replaced(text: str, new: str, path: Path) -> str:
    """`text` with `new` between its markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ResultsError(f"{path} must hold {BEGIN} and, after it, {END}, once each")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def read(path: Path) -> str:
    """A file's text, or a `ResultsError`."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ResultsError(f"{path} cannot be read ({error.strerror})") from None


def rate(value: float | None, half: float | None = None) -> str:
    """A speed to three digits, in full: 612 000, or 9.2. No interval: timings are medians."""
    if value is None or not math.isfinite(value) or value == 0:
        return MISSING
    return fixed(round(value, 2 - math.floor(math.log10(abs(value)))), 0 if abs(value) >= 100 else 1)


def _cells(part: Result, written: Any = number) -> tuple[str, str, str, str]:
    """Ours, published, bounds and target of a result or of one of its rows."""
    speed = written is rate
    published = (rate if speed else quoted)(part.get("published"))
    if part.get("published_source"):
        published += f" ({part['published_source']})"
    each = [
        f"{b['name']} {rate(b['value']) if speed else quoted(float(format(b['value'], '.5g')))}"
        for b in part.get("bounds") or ()
    ]
    value = part.get("value")
    ours = written(value, part.get("ci95")) if value is not None else ""
    return ours, published, ", ".join(each) or MISSING, _target(part, speed)


def _target(part: Result, speed: bool) -> str:
    target = part.get("target")
    if not target:
        return MISSING
    text = str(target).replace(">=", "≥").replace("<=", "≤").replace(" -", " \N{MINUS SIGN}")
    bound = _bound(target)
    if bound and speed:
        text = f"{text[0]} {rate(bound[1])}"
    return text + {True: ": met", False: ": **not met**", None: ""}[part.get("met")]


def _bound(target: Any) -> tuple[str, float] | None:
    """`>= 6.6` as a sign and a number; None when the target says more than that."""
    match = re.fullmatch(r"\s*(>=|<=|≥|≤)\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*", str(target))
    return (match[1], float(match[2])) if match else None


def _check_target(part: Result, path: Path) -> None:
    """A page must not say `met` where the number says otherwise."""
    bound, value, met = _bound(part.get("target")), part.get("value"), part.get("met")
    if bound is None or value is None or met is None:
        return
    reached = value >= bound[1] if bound[0] in (">=", "≥") else value <= bound[1]
    if reached != met:
        raise ResultsError(f"{path} says met = {met}, but its value {value} against its target {part['target']}")


def _link(path: Path, result: Result, base: Path) -> str:
    return f"[{result['title']}]({Path(os.path.relpath(path, base)).as_posix()})"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]


if __name__ == "__main__":
    sys.exit(main())
