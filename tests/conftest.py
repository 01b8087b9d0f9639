"""What holds for every test: two CPU devices, one thread an operation, nothing read from an older compilation."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Before JAX starts: tests run side by side, one process a core.
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false"])

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_compilation_cache", False)


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision while the test runs."""
    with jax.enable_x64(True):
        yield
