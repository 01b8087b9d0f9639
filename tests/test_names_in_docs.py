"""Names of the code, in the documentation and in docstrings, are there: modules, functions, classes, fields and files.

Read from the sources' syntax, so nothing is imported.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "adaptax"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted(PACKAGE.rglob("*.py"))
FILES = {"py", "md", "json", "jsonl", "npz", "toml", "txt", "lock", "sh", "safetensors"}
NOT_HERE = {"report.md", "tensorboard/", "checkpoints/", "seed-K/"}  # files of a run
OUTSIDE = {
    "AxisType",
    "lax",
    "metaworld",
    "mujoco",
    "environment",
}  # other libraries' names, and those of a reader's program
CALLED = {"agent": ("LiveAgent", "Trained"), "trained": ("Trained",), "plan": ("Plan",), "spec": ("Spec",)}
ENTRY_POINTS = {"adaptax.algorithms", "adaptax.benchmarks"}


def members(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """What a module or a class holds, by name: definitions, fields, imports, and what a class gives to `self`."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {(alias.asname or alias.name): node for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__").removesuffix("__init__")


TREES = {module_of(path): ast.parse(path.read_text("utf-8")) for path in SOURCES}
MODULES = {name: members(tree.body) for name, tree in TREES.items()}
CLASSES = {node.name: node for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef)}
STEMS = {name.rsplit(".", 1)[-1]: name for name in MODULES}


def attributes(name: str) -> set[str]:
    """The names that objects of a class of ours have, those of its bases among them."""
    node = CLASSES[name]
    own = set(members(node.body))
    own |= {x.attr for x in ast.walk(node) if isinstance(x, ast.Attribute) and isinstance(x.ctx, ast.Store)}
    return own.union(*(attributes(base.id) for base in node.bases if isinstance(base, ast.Name) and base.id in CLASSES))


def known(root: str) -> bool:
    """Whether a dotted name that begins so is ours."""
    return root in {"adaptax", *CALLED, *CLASSES, *STEMS} - OUTSIDE


def there(dotted: str) -> bool:
    """Whether a name of ours, such as `ops.chance`, `run.evaluate.Protocol` or `Plan.rounds`, is there."""
    parts = dotted.removeprefix("adaptax.").split(".")
    if parts[0] in CALLED:
        return any(parts[1] in attributes(name) for name in CALLED[parts[0]])
    if parts[0] in CLASSES:
        return len(parts) == 1 or parts[1] in attributes(parts[0])
    parts = [*STEMS.get(parts[0], parts[0]).split("."), *parts[1:]] if parts[0] not in MODULES else parts
    depth = max((n for n in range(len(parts) + 1) if ".".join(parts[:n]) in MODULES), default=0)
    rest, held = parts[depth:], MODULES[".".join(parts[:depth])]
    if not rest or rest[0] not in held or len(rest) == 1:
        return not rest or rest[0] in held
    return rest[0] in CLASSES and rest[1] in attributes(rest[0])


def ticked(text: str) -> list[str]:
    """What stands in backticks outside of blocks of code, arguments of calls left out."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\(.*", "", inside) for inside in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)]


def stale(text: str, strict: bool) -> set[str]:
    """Dotted names and paths in a text that are not there; `strict`: and those that nobody knows the owner of."""
    bad = set()
    for word in ticked(text):
        if re.fullmatch(r"([\w-]+/)+|[\w/-]+\.(py|md|sh)", word):
            ours = strict or (PACKAGE / word.split("/")[0]).is_dir()  # a docstring may name a file of the authors' code
            if ours and word not in NOT_HERE and not any((place / word).exists() for place in (ROOT, PACKAGE)):
                bad.add(word)
        elif re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", word) and word.rsplit(".", 1)[1] not in FILES:
            root = word.split(".")[0]
            unknown = not known(root) and root not in OUTSIDE
            if word not in ENTRY_POINTS and ((unknown and strict) or (known(root) and not there(word))):
                bad.add(word)
    return bad


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_names_in_a_page_are_there(page: Path) -> None:
    assert not stale(page.read_text("utf-8"), strict=True)


def test_names_in_docstrings_are_there() -> None:
    bad = {}
    for name, tree in TREES.items():
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
        found = set().union(*(stale(ast.get_docstring(node) or "", strict=False) for node in nodes))
        bad |= {name: found} if found else {}
    assert not bad


def test_what_is_gone_is_found() -> None:
    gone = {
        "ops.chance.lost",
        "types.JUDGED",
        "plan.lifetimes",
        "run/memory.py",
        "adaptax.lode",
        "policy_losses.l",
        "x.y",
    }
    present = {"Plan.rounds", "run.evaluate.Protocol", "live.agent.LiveAgent.episode", "nets.RECURRENT", "run/", "ops"}
    assert stale(" ".join(f"`{word}`" for word in sorted(gone | present)), strict=True) == gone
