"""The documentation keeps up with the code: names, links, defaults, and code that compiles."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from records import RECORDS

from adaptax.cli import COMMANDS
from adaptax.names import registry

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
TAUGHT = [
    ROOT / "README.md",
    *(ROOT / "docs" / n for n in ("quickstart.md", "evaluation.md", "your_own.md", "deployment.md")),
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}, which has no such heading"


def test_every_algorithm_has_a_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for algorithm in registry.ALGORITHMS:
        page = RECORDS[algorithm].page
        assert f"`{algorithm}`" in (ROOT / "docs" / "algorithms" / page).read_text("utf-8")
        assert f"`{algorithm}`" in index


@pytest.mark.parametrize("algorithm", [name for name, entry in registry.ALGORITHMS.items() if not entry.fixed])
def test_hyperparameter_tables_show_the_defaults(algorithm: str) -> None:
    text = (ROOT / "docs" / "algorithms" / RECORDS[algorithm].page).read_text("utf-8")
    own = f"## Hyper-parameters of `{algorithm}`"  # on a page of several algorithms
    table = text.partition(own if own in text else "## Hyper-parameters\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \| .+ \|$", table, re.MULTILINE))
    build = registry.algorithm_entry(algorithm).load()
    assert rows == {field.name: str(field.default) for field in fields(build) if field.name != "spec"}


MANY_FAMILIES = ("metaworld-ml10", "metaworld-ml45")  # whose goals take seconds to draw


@pytest.mark.parametrize(
    "benchmark", [pytest.param(b, marks=[pytest.mark.slow] * (b in MANY_FAMILIES)) for b in registry.BENCHMARKS]
)
def test_every_benchmark_has_its_settings_and_strategies_described(benchmark: str) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `([\w-]+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    section = sections[benchmark]
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", section, re.MULTILINE))
    signature = inspect.signature(registry.benchmark_entry(benchmark).load())
    assert rows == {key: str(parameter.default) for key, parameter in signature.parameters.items()}
    made = registry.make_benchmark(benchmark, {})
    for reference in ("random", *made.references, *(one.name for one in made.known)):
        assert f"`{reference}`" in section
    for split in made.named:
        assert f"`{split}`" in section


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_compile(page: Path) -> None:
    for block in blocks(page, "python"):
        if page.name != "design.md":  # its blocks are sketches of interfaces
            ast.parse(block)


@pytest.mark.parametrize("page", TAUGHT, ids=name)
def test_library_names_in_the_pages_exist(page: Path) -> None:
    import adaptax
    import adaptax.api

    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adaptax"):
                module = adaptax.api if node.module == "adaptax.api" else adaptax
                assert all(hasattr(module, alias.name) for alias in node.names), block
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "adaptax":
                assert hasattr(adaptax, node.attr), f"{name(page)} uses adaptax.{node.attr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    for line in "\n".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] != "adaptax":
            continue
        assert words[1] in COMMANDS, f"{name(page)}: {line}"
        if words[1] in ("train", "bench") and words[2:] and not words[2].startswith("-"):
            assert words[2] in registry.ALGORITHMS and words[3] in registry.BENCHMARKS, f"{name(page)}: {line}"
            settings = inspect.signature(registry.benchmark_entry(words[3]).load()).parameters
            given = [word.removeprefix("--benchmark.") for word in words if word.startswith("--benchmark.")]
            assert set(given) <= set(settings), f"{name(page)}: {line}"
        if "--task" in words:
            task = json.loads(words[words.index("--task") + 1])
            assert isinstance(task, dict) or (words[1] == "render" and task >= 1)
