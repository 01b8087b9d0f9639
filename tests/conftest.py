"""What holds for every test: two CPU devices, one thread an operation, compilations shared within a session only."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

# Before JAX starts: tests run side by side, one process a core.
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false"])

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_platforms", "cpu")

# A run and its continuation compile the same program: the second one finds it here. Nothing is read from an older
# session, whose sources may have been others, nor from another worker, which may be half way through writing it.
_compiled = os.environ.get("ADAPTAX_TEST_CACHE", "")
if not _compiled:
    _compiled = tempfile.mkdtemp(prefix="adaptax-tests-")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _compiled)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` one worker has all that the contract says of an algorithm: what is made for one test is
    there for the next."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if item.path.name == "test_contract.py" and "name" in params:
            item.add_marker(pytest.mark.xdist_group(params["name"]))


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """For a module whose programs run for milliseconds and compile for seconds: half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision while the test runs."""
    with jax.enable_x64(True):
        yield
