"""What an agent on one real environment compiles, besides its own `adapt`."""

from functools import partial

import jax

from ..run.keys import round_keys
from ..types import Adapted, Agent, Array, Decision, Key, Memory, Params, Plan, Timestep


def act_on_key_data(
    agent: Agent, params: Params, adapted: Adapted, memory: Memory, timestep: Timestep, key: Array
) -> tuple[Decision, Memory]:
    """`key` comes as its data, from the host."""
    return agent.act(params, adapted, memory, timestep, jax.random.wrap_key_data(key))


@partial(jax.jit, static_argnums=0)
def keys_of_round(plan: Plan, key: Key) -> tuple[Array, Key]:
    """Of one round: the data of those for acting [T, B, …], and the one for adapting."""
    keys = round_keys(key, plan)
    return jax.random.key_data(keys.act[:, 0]), keys.adapt[0]
