"""Draw a loop's random numbers before the loop.

Inside a scan, the hash behind one step's noise is a string of small kernels that costs as much as a small policy. For
all steps at once, what a step computes from its keys alone is one wide hash. The numbers are the same.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
from jax.tree_util import tree_flatten, tree_structure, tree_unflatten


def scan_hoisted(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, keys: Any) -> tuple[Any, Any]:
    """`jax.lax.scan(body, carry, keys)`, where whatever `body` computes from the keys alone stands before the loop."""
    one = jax.tree.map(lambda k: jax.eval_shape(lambda k: k[0], k), keys)
    closed, shape = jax.make_jaxpr(body, return_shape=True)(carry, one)
    flat_carry, carry_tree = tree_flatten(carry)
    flat_keys = jax.tree.leaves(keys)
    before, after = _split(closed, len(flat_carry))
    drawn = jax.vmap(before)(*flat_keys)

    def step(flat: list[Any], drawn: Any) -> tuple[list[Any], list[Any]]:
        results = after(*flat, *drawn)
        return list(results[: len(flat)]), list(results[len(flat) :])

    # A step without randomness leaves nothing to scan over, so the length is said.
    last, seen = jax.lax.scan(step, flat_carry, drawn, length=flat_keys[0].shape[0])
    return tree_unflatten(carry_tree, last), tree_unflatten(tree_structure(shape[1]), seen)


def _split(closed: jex.ClosedJaxpr, carried: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Cut a step's program in two: `before(*keys) -> drawn` and `after(*carry, *drawn) -> results`."""
    jaxpr = closed.jaxpr
    known = set(jaxpr.invars[carried:])
    early, late = [], []
    for equation in jaxpr.eqns:
        inputs = [v for v in equation.invars if not isinstance(v, jex.Literal)]
        if inputs and all(v in known for v in inputs) and not equation.effects:
            known.update(equation.outvars)
            early.append(equation)
        else:
            late.append(equation)
    wanted = [v for e in late for v in e.invars] + list(jaxpr.outvars)
    drawn = list(dict.fromkeys(v for v in wanted if not isinstance(v, jex.Literal) and v in known))
    first = jex.Jaxpr((), jaxpr.invars[carried:], drawn, early, debug_info=jaxpr.debug_info)
    second = jex.Jaxpr(
        jaxpr.constvars,
        [*jaxpr.invars[:carried], *drawn],
        jaxpr.outvars,
        late,
        jaxpr.effects,
        jaxpr.debug_info,
    )
    return (
        jex.jaxpr_as_fun(jex.ClosedJaxpr(first, ())),
        jex.jaxpr_as_fun(jex.ClosedJaxpr(second, closed.consts)),
    )
