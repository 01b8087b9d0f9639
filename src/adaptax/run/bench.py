"""How fast a meta-iteration runs: environment steps per second of collection, update and both, compilation apart,
beside the floor that the machine's own matrix-product rate sets."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from ..ranges import check_range
from ..types import Algorithm, Benchmark
from .iterate import begin, meta_iteration
from .shard import mesh_of, spread
from .source import living

RATE_SHAPE = (40_000, 100, 100)  # a round's activations times a layer: what the published networks multiply


def bench(algorithm: Algorithm, benchmark: Benchmark, repetitions: int = 9, devices: int = 1) -> dict[str, float]:
    """Medians over `repetitions` of one meta-iteration, in seconds and environment steps per second.

    `floor_seconds` is the time that the iteration's matrix products alone would take at the rate measured here, just
    before and just after; `times_floor` is the whole iteration's time over it.
    """
    check_range("repetitions", repetitions, 1)
    check_range("devices", devices, 1)
    with mesh_of(devices, algorithm.plan.tasks):
        return _bench(algorithm, benchmark, repetitions, devices)


def _bench(algorithm: Algorithm, benchmark: Benchmark, repetitions: int, devices: int) -> dict[str, float]:
    root, source = jax.random.key(0), living(algorithm, benchmark)
    iterate = meta_iteration(algorithm, source)
    progress = jax.jit(lambda root: begin(algorithm, source, root))(root)
    products = count_products(jax.make_jaxpr(iterate)(progress, root).jaxpr)
    before = product_rate()
    whole = jax.jit(iterate)
    began = time.perf_counter()
    jax.block_until_ready(whole(progress, root))
    first = time.perf_counter() - began
    gather = jax.jit(lambda progress, key: source.draw(progress.state.params, progress.carried, key).experience)
    update = jax.jit(algorithm.update)
    trials = gather(progress, root)
    seconds = {
        "iteration": _median(lambda: whole(progress, root), repetitions),
        "collection": _median(lambda: gather(progress, root), repetitions),
        "update": _median(lambda: update(progress.state, trials, root), repetitions),
    }
    if failure := source.failure():
        raise failure
    rate = (before + product_rate()) / 2
    steps = algorithm.plan.environment_steps
    floor = products / rate
    return {
        "environment_steps": steps,
        "devices": devices,
        "compile_seconds": first - seconds["iteration"],
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_steps_per_second": steps / value for name, value in seconds.items()},
        "product_flops": products,
        "product_rate_gflops": rate / 1e9,
        "floor_seconds": floor,
        "floor_steps_per_second": steps / floor,
        "times_floor": seconds["iteration"] / floor,
    }


def _median(call: Callable[[], Any], repetitions: int) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def product_rate(seconds: float = 0.3) -> float:
    """Floating-point operations per second of an f32 matrix product on all cores (the fastest of several runs)."""
    rows, inner, columns = RATE_SHAPE
    left = jax.jit(lambda: spread(jnp.ones((rows, inner), jnp.float32)))()  # over all devices of the mesh
    right = jnp.ones((inner, columns), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(left, right))
    best, until = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        jax.block_until_ready(product(left, right))
        best = min(best, time.perf_counter() - began)
    return 2.0 * rows * inner * columns / best


def count_products(jaxpr: Any) -> float:
    """Floating-point operations of all matrix products in a jaxpr; the body of a scan counts once per step, that of a
    `while` once, and of the branches of a `cond` the largest."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            width = float(np.prod([left[d] for d in contracted]))
            total += 2.0 * width * float(np.prod(equation.outvars[0].aval.shape))
            continue
        inside = [count_products(inner) for inner in _inner(equation.params)]
        if equation.primitive.name == "cond":
            total += max(inside)
        else:
            total += (
                equation.params.get("length", 1) * sum(inside) if equation.primitive.name == "scan" else sum(inside)
            )
    return total


def _inner(params: dict[str, Any]) -> list[Any]:
    """The jaxprs among an equation's parameters, as themselves, closed, or in tuples."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, jax.extend.core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, jax.extend.core.Jaxpr):
                found.append(item)
    return found
