"""What holds for every test: two CPU devices, one thread an operation, quick compilation, compiled programs kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Before JAX starts. Programs here run for milliseconds and compile for seconds: without optimisations, in one piece
# each, and by XLA's older emitters, that takes a sixth of the time. Tests run side by side, one process a core.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_cpu_multi_thread_eigen=false",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
        os.environ.get("XLA_FLAGS", ""),  # where two differ, the later one holds
    ]
)

import jax
import pytest
from jax._src.lru_cache import LRUCache

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_platforms", "cpu")

# The next run, another worker, and a run's continuation find here what they would compile again. The key is the
# program, with the flags, the versions and the processor, so that nothing stale is read.
KEPT = Path(os.environ.get("ADAPTAX_TEST_CACHE") or Path(__file__).parents[1] / ".jax_cache")
KEPT_BYTES = 2**30
jax.config.update("jax_compilation_cache_dir", str(KEPT))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def put_whole(cache: LRUCache, key: str, value: bytes) -> None:
    """A cache's `put` whose entry appears at once: JAX's own is seen, half written, by whoever reads meanwhile."""
    partial = KEPT / f"{key}.{os.getpid()}"
    partial.write_bytes(value)
    partial.replace(KEPT / f"{key}-cache")


LRUCache.put = put_whole


def pytest_sessionstart(session: pytest.Session) -> None:
    """The folder is kept below its size: what was not used for longest goes."""
    if hasattr(session.config, "workerinput") or not KEPT.is_dir():
        return
    files = [(file, file.stat()) for file in KEPT.iterdir()]
    left = KEPT_BYTES
    for file, stat in sorted(files, key=lambda pair: max(pair[1].st_atime, pair[1].st_mtime), reverse=True):
        left -= stat.st_size
        if left < 0:
            file.unlink(missing_ok=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` one worker has all that the contract says of an algorithm: what is made for one test is
    there for the next."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if item.path.name == "test_contract.py" and "name" in params:
            item.add_marker(pytest.mark.xdist_group(params["name"]))


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A worker that stays small: what a module compiled goes with it. The next one reads from the folder what it needs
    of that."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilation() -> None:
    """What every module has; the name goes with its last user."""


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision while the test runs."""
    with jax.enable_x64(True):
        yield
