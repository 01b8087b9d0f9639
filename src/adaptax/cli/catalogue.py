"""`adaptax list`: every name with one line about it, or what is known of one benchmark."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import tyro

from ..names import registry
from ..names.evaluation import strategies_of
from ..types import Benchmark


@dataclass(frozen=True)
class ListOptions:
    """Algorithms, benchmarks and networks, each with one line; or what is known of one benchmark: the references beside
    which agents are evaluated, the best of them marked."""

    benchmark: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[BENCHMARK]", help_behavior_hint="")]] = ""
    """Of which benchmark to list what is known."""
    json: bool = False
    """Print JSON, for programs."""


def list_command(words: list[str]) -> int:
    options = tyro.cli(
        ListOptions,
        args=words,
        prog="adaptax list",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    name = options.benchmark
    names = known_of(registry.make_benchmark(name, {})) if name else catalogue()
    if options.json:
        print(json.dumps(names, indent=2, ensure_ascii=False))
        return 0
    width = max(len(name) for lines in names.values() for name in lines)
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for number, (title, lines) in enumerate(names.items()):
        print(("\n" if number else "") + title)
        for name, line in lines.items():
            text = f"  {name:<{width}}  {line}"
            print(text if len(text) <= room else text[: room - 1] + "…")
    return 0


def catalogue() -> dict[str, dict[str, str]]:
    """Title → name → one line."""
    kinds = {
        "algorithms": registry.all_algorithms(),
        "benchmarks": registry.all_benchmarks(),
        "networks": registry.all_networks(),
    }
    return {title: {name: entry.line for name, entry in entries.items()} for title, entries in kinds.items()}


def known_of(benchmark: Benchmark) -> dict[str, dict[str, str]]:
    """Title → name → one line, of a benchmark with its own settings."""
    known = {one.name: f"{one.episode:g} per episode: {one.source}" for one in benchmark.known}
    references = {name: _first_sentence(make) for name, make in strategies_of(benchmark).items()} | known
    if benchmark.best is not None:
        references[benchmark.best] += " [best reference]"
    splits = {name: benchmark.split(name) for name in ("train", "validation", "test", *benchmark.named)}
    sizes = {name: "drawn afresh" if t.size is None else f"{t.size} tasks" for name, t in splits.items()}
    return {"protocol": {"test": benchmark.describe}, "splits": sizes, "references": references}


def _first_sentence(make: Callable[..., Any]) -> str:
    described = make.func if isinstance(make, partial) else make
    text = " ".join((inspect.getdoc(described) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].removesuffix(".")
