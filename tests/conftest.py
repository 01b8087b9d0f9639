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
from kept import forget, put_whole

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_platforms", "cpu")

# The next run, another worker, and a run's continuation find here what they would compile again. The key is the
# program, with the flags, the versions and the processor, so that nothing stale is read.
KEPT = Path(os.environ.get("ADAPTAX_TEST_CACHE") or Path(__file__).parents[1] / ".jax_cache")
KEPT_BYTES = 2**30
jax.config.update("jax_compilation_cache_dir", str(KEPT))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
LRUCache.put = put_whole


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # once, where pytest-xdist has workers
        forget(KEPT, KEPT_BYTES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` one worker has a whole file, or all of a file that is about one algorithm: what is made
    for one test is there for the next."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        part = params.get("name", "") if item.path.name in ("test_contract.py", "test_probes.py") else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} {part}"))


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A worker that stays small: what a module compiled goes with it. The next one reads from the folder what it needs
    of that."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision while the test runs."""
    with jax.enable_x64(True):
        yield
