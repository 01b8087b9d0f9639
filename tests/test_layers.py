"""The architecture as a test: who may import whom, how long a page may get, and what an import may cost.

`docs/design.md` gives the reasons. Imports are read from the syntax tree, those inside functions included.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from adaptax.names import registry

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = SOURCE / "adaptax"

# A layer is a folder or a top-level module. What it may import of ours, besides itself:
MAY_IMPORT = {
    "known": set(),
    "types": {"known"},
    "offers": {"types"},
    "ranges": {"types"},
    "tasks": {"types"},
    "spaces": {"types"},
    "ops": {"types", "ranges", "spaces"},
    "nets": {"types", "ranges", "ops"},
    "buffers": {"types", "ranges", "ops"},
    "replay": {"types", "ranges", "ops", "buffers"},
    "algorithms": {"types", "ranges", "ops", "nets", "buffers", "replay"},
    "strategies": {"types", "ranges", "ops"},
    "envs": {"known", "types", "tasks", "ranges", "spaces", "strategies", "render"},
    "data": {"types", "ranges"},
    "run": {"types", "offers", "strategies", "ranges", "spaces", "ops", "buffers"},
    "live": {"types", "ranges", "spaces", "ops", "run"},
    "report": set(),
    "render": {"report"},
}
# Only these know names, and put the layers together.
KNOW_NAMES = {
    "__init__",
    "__main__",
    "api",
    "cli",
    "names",
}

# Of those that know names, in which order: each may import those before it, and no other.
NAMES = ("provenance", "defaults", "registry", "config", "evaluation", "animation", "trained", "results")

# Report reads result files on a machine that need not have any of these.
NOT_IN_REPORT = {"jax", "jaxlib", "optax", "gymnasium", "equinox", "tyro", "tensorboardX", "safetensors"}
# Imported by the function that needs them, because they are slow to import and seldom needed.
LAZY = {"matplotlib", "PIL", "imageio_ffmpeg", "tensorboardX", "tyro"}

MAX_FILE = 320
MAX_FUNCTION = 60
# Sizes keep a file readable and are not walls: "file" or "file:function" → the reason to break one.
LONG_FILES: dict[str, str] = {
    "algorithms/varibad.py": "31 documented fields: the model, the policy, and HyperX's bonuses",
    "algorithms/pearl.py": "29 documented fields: besides what trains it, how it searches on a new task",
}
LONG_FUNCTIONS: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Import(NamedTuple):
    module: str  # absolute, such as adaptax.ops.returns
    line: int
    top_level: bool


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(path: Path) -> Iterator[Import]:
    """Every module that the file names in an import, `from package import module` resolved to the module."""
    tree = parse(path)
    package = path.relative_to(SOURCE).with_suffix("").parts[:-1]  # an __init__ too is relative to its folder
    later = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            modules = [submodule(base, alias.name) for alias in node.names]
        else:
            continue
        for module in modules:
            yield Import(module, node.lineno, id(node) not in later)


def submodule(base: str, name: str) -> str:
    """`base.name` if that is a module of ours, else `base`, of which `name` is only an attribute."""
    place = SOURCE.joinpath(*base.split("."), name)
    return f"{base}.{name}" if place.is_dir() or place.with_suffix(".py").is_file() else base


def functions(path: Path) -> Iterator[tuple[str, Function, int]]:
    """(qualified name, function, number of functions around it)."""

    def walk(node: ast.AST, prefix: str, depth: int) -> Iterator[tuple[str, Function, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child, depth
                yield from walk(child, f"{prefix}{child.name}.", depth + 1)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.", depth)
            else:
                yield from walk(child, prefix, depth)

    yield from walk(parse(path), "", 0)


def test_every_file_belongs_to_a_layer() -> None:
    unknown = {layer_of(path) for path in files()} - set(MAY_IMPORT) - KNOW_NAMES
    assert not unknown, f"say in MAY_IMPORT what {sorted(unknown)} may import"


def test_the_design_shows_the_layers() -> None:
    text = (SOURCE.parent / "docs" / "design.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| .* \| (.*) \|$", text.partition("\n## Layers\n")[2], re.MULTILINE)
    shown = {layer: set(re.findall(r"\w+", allowed)) & set(MAY_IMPORT) for layer, allowed in rows}
    present = {layer_of(path) for path in files()} - KNOW_NAMES
    assert shown == {layer: allowed for layer, allowed in MAY_IMPORT.items() if layer in present}
    assert f"in one order ⚖: {', '.join(NAMES)} |" in text


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_imports_respect_the_layers(path: Path) -> None:
    layer = layer_of(path)
    if layer in KNOW_NAMES:
        return
    allowed = MAY_IMPORT[layer] | {layer}
    for found in imports(path):
        first, *rest = found.module.split(".")
        if first == "adaptax":
            target = rest[0] if rest else "adaptax itself"
            assert target in allowed, f"{name_of(path)}:{found.line}: {layer} must not import {found.module}"


@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_names_have_an_order(place: int) -> None:
    for found in imports(PACKAGE / "names" / f"{NAMES[place]}.py"):
        outermost = found.module.split(".")[:2] in (["adaptax", "api"], ["adaptax", "cli"])
        assert not outermost, f"{NAMES[place]}:{found.line} imports {found.module}, which imports it"
        package, _, inside = found.module.partition("adaptax.names.")
        assert package or inside.split(".")[0] in NAMES[:place], f"{NAMES[place]}:{found.line} imports {inside}"


def test_every_name_has_a_place() -> None:
    found = {path.stem for path in (PACKAGE / "names").glob("*.py")}
    assert found == {*NAMES, "__init__"}


def test_algorithms_never_import_one_another() -> None:
    for path in sorted((PACKAGE / "algorithms").rglob("*.py")):
        for found in imports(path):
            inside = found.module.startswith("adaptax.algorithms")
            assert not inside, f"{name_of(path)}:{found.line} imports {found.module}"


@pytest.mark.parametrize("layer", ["run", "live", "report"])
def test_what_serves_all_knows_no_names(layer: str) -> None:
    """What is right for one algorithm or benchmark stands with it, or where names are put to things."""
    names = {*registry.ALGORITHMS, *registry.BENCHMARKS}
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        for node in ast.walk(parse(path)):
            known = isinstance(node, ast.Constant) and node.value in names
            assert not known, f"{name_of(path)}:{node.lineno} knows {node.value!r}"


@pytest.mark.parametrize("layer", ["report", "render"])
def test_what_draws_needs_no_jax(layer: str) -> None:
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        for found in imports(path):
            outside = found.module.split(".")[0]
            assert outside not in NOT_IN_REPORT, f"{name_of(path)}:{found.line} imports {found.module}"


def test_only_registries_import_by_name() -> None:
    """`importlib.import_module` would get around every rule above; a layer's own registry is its __init__."""
    for path in files():
        for found in imports(path):
            by_name = found.module in ("importlib", "importlib.util", "runpy")
            registry = layer_of(path) in KNOW_NAMES or path.name == "__init__.py"
            assert registry or not by_name, f"{name_of(path)}:{found.line} imports by name"


def test_slow_imports_are_lazy() -> None:
    for path in files():
        for found in imports(path):
            slow = found.module.split(".")[0] in LAZY and found.top_level
            allowed = layer_of(path) == "cli" and found.module.split(".")[0] == "tyro"
            assert not slow or allowed, f"{name_of(path)}:{found.line} imports {found.module} at once"


def test_importing_adaptax_is_cheap() -> None:
    code = f"import sys, adaptax; print(*(name for name in {sorted(LAZY)} if name in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == []


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_files_keep_to_a_page(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE or name_of(path) in LONG_FILES, f"{name_of(path)} has {lines} lines"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_functions_fit_on_a_screen(path: Path) -> None:
    for name, function, depth in functions(path):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        place = f"{name_of(path)}:{name}"
        assert lines <= MAX_FUNCTION or place in LONG_FUNCTIONS, f"{place} has {lines} lines"
        assert depth <= 2, f"{place} stands inside {depth} functions; two is the most"


def test_the_exceptions_are_still_needed() -> None:
    """An exception that no longer applies would let the next one pass unseen."""
    long_files = {name_of(p) for p in files() if len(p.read_text(encoding="utf-8").splitlines()) > MAX_FILE}
    long_functions = {
        f"{name_of(path)}:{name}"
        for path in files()
        for name, function, _ in functions(path)
        if (function.end_lineno or function.lineno) - function.lineno + 1 > MAX_FUNCTION
    }
    assert set(LONG_FILES) == long_files
    assert set(LONG_FUNCTIONS) == long_functions
    assert all([*LONG_FILES.values(), *LONG_FUNCTIONS.values()]), "give the reason"


def test_imports_are_read_as_python_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above hold only if this reader misses nothing."""
    folder = tmp_path / "adaptax" / "run"
    folder.mkdir(parents=True)
    (tmp_path / "adaptax" / "types.py").touch()
    page = folder / "page.py"
    page.write_text(
        "import jax.numpy as jnp, adaptax.cli\n"
        "from adaptax import types\n"
        "from adaptax.types import Key\n"
        "from . import page\n"
        "from .page import thing\n"
        "from .. import types\n"
        "from ..types import Key\n"
        "def f():\n    import matplotlib.pyplot\n"
    )
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    found = list(imports(page))
    assert [one.module for one in found] == [
        "jax.numpy",
        "adaptax.cli",
        "adaptax.types",
        "adaptax.types",
        "adaptax.run.page",
        "adaptax.run.page",
        "adaptax.types",
        "adaptax.types",
        "matplotlib.pyplot",
    ]
    assert [one.top_level for one in found] == [True] * 8 + [False]
