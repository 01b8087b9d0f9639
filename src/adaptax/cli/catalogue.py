"""`adaptax list`: every name with one line about it."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from dataclasses import dataclass

import tyro

from ..names import registry
from ..names.registry import Entry


@dataclass(frozen=True)
class ListOptions:
    """Algorithms, benchmarks, networks and reference strategies, each with one line."""

    json: bool = False
    """Print JSON, for programs."""


def list_command(words: list[str]) -> int:
    options = tyro.cli(
        ListOptions,
        args=words,
        prog="adaptax list",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    names = catalogue()
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
    """Title → name → one line; a reference strategy is called `benchmark/name`."""
    kinds = {
        "algorithms": registry.all_algorithms(),
        "benchmarks": registry.all_benchmarks(),
        "networks": registry.all_networks(),
    }
    strategies = {
        f"{benchmark}/{name}": _first_sentence(target)
        for benchmark, targets in registry.STRATEGIES.items()
        for name, target in targets.items()
    }
    lines = {title: {name: entry.line for name, entry in entries.items()} for title, entries in kinds.items()}
    return {**lines, "reference strategies": strategies}


def _first_sentence(target: str) -> str:
    text = " ".join((inspect.getdoc(Entry(target, "").load()) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].removesuffix(".")
