"""The settings of a pair of algorithm and benchmark as flags, made of the dataclass and the function behind
the names.

An algorithm's hyper-parameters are plain flags (`--learning-rate`), with the literal that follows a field as
its help; a benchmark's settings carry a prefix (`--benchmark.arms`). A hyper-parameter that is called like an
option of the command is written `--algorithm.NAME`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, make_dataclass
from itertools import takewhile
from typing import Annotated, Any, NamedTuple, get_type_hints

import tyro

from ..names import registry
from ..types import UserError


class Chosen(NamedTuple):
    """What a command line says: the command's own options, hyper-parameters and benchmark settings."""

    options: Any
    hyperparameters: dict[str, Any]
    settings: dict[str, Any]


def leading_names(words: Sequence[str], command: str) -> tuple[tuple[str, str] | None, list[str]]:
    """The algorithm and the benchmark with which a command begins, if it does, and the other words."""
    names = list(takewhile(lambda word: not word.startswith("-"), words[:2]))
    if len(names) == 1:
        registry.algorithm_entry(names[0])
        raise UserError(f"name a benchmark too: adaptax {command} {names[0]} BENCHMARK (adaptax list shows them)")
    return ((names[0], names[1]) if names else None), list(words[len(names) :])


def parse(
    command: str,
    names: tuple[str, str],
    words: Sequence[str],
    options: Any,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Chosen:
    """Parse the words after the names. `options` is an instance of the command's dataclass, with its
    defaults; the mappings, such as those of a run that is resumed, replace the defaults of the pair."""
    algorithm, benchmark = names
    entry, build = registry.algorithm_entry(algorithm), registry.benchmark_entry(benchmark).load()
    own = Annotated[type(options), tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="")]
    learned = hyperparameter_class(entry, names, options, hyperparameters or {})
    world = setting_class(build, settings or {})
    parts = [
        ("options", own, _constant(options)),
        ("algorithm", Annotated[learned, tyro.conf.arg(help=entry.line)]),
        ("benchmark", Annotated[world, tyro.conf.arg(help=_paragraph(inspect.getdoc(build)))]),
    ]
    whole = make_dataclass("Whole", parts, kw_only=True)
    found: Any = tyro.cli(
        whole,
        args=list(words),
        prog=f"adaptax {command} {algorithm} {benchmark}",
        description=inspect.getdoc(type(options)),
    )
    return Chosen(found.options, _values(found.algorithm), _values(found.benchmark))


def hyperparameter_class(entry: registry.Entry, names: tuple[str, str], options: Any, start: Mapping[str, Any]) -> type:
    """A dataclass of an algorithm's hyper-parameters, without those that its registered name fixes."""
    build = entry.load()
    texts, kinds = field_texts(build), get_type_hints(build)
    taken = {f.name for f in fields(options)}
    defaults = {**registry.defaults(*names).hyperparameters, **start}
    made = []
    for one in fields(build):
        if one.name == "spec" or one.name in entry.fixed:
            continue
        flag = tyro.conf.arg(help=texts.get(one.name, ""), prefix_name=one.name in taken)
        default = _constant(defaults[one.name]) if one.name in defaults else _same_default(one)
        made.append((one.name, Annotated[kinds[one.name], flag], default))
    return make_dataclass("Hyperparameters", made, kw_only=True)


def setting_class(build: Callable[..., Any], start: Mapping[str, Any]) -> type:
    """A dataclass of a benchmark's settings, from the signature of the function that builds it."""
    kinds = get_type_hints(build)
    made = []
    for name, parameter in inspect.signature(build).parameters.items():
        default = start.get(name, parameter.default)
        kind = kinds.get(name, type(default))
        flag = tyro.conf.arg(help="")
        made.append((name, Annotated[kind, flag], field() if default is parameter.empty else _constant(default)))
    return make_dataclass("BenchmarkSettings", made, kw_only=True)


def field_texts(build: type) -> dict[str, str]:
    """The string literal after each field of a dataclass, from its source, if there is one."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(build))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    texts: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for before, after in zip(statements, statements[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    texts[before.target.id] = _paragraph(text)
    return texts


def _constant(value: Any) -> Any:
    return field(default_factory=lambda: value)  # a factory, so that a list may be a default too


def _same_default(one: Field) -> Any:
    if one.default_factory is not MISSING:
        return field(default_factory=one.default_factory)
    return field() if one.default is MISSING else _constant(one.default)


def _values(found: Any) -> dict[str, Any]:
    return {one.name: getattr(found, one.name) for one in fields(found)}


def _paragraph(text: str | None) -> str:
    """A docstring with its lines joined, blank lines between paragraphs kept."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))
