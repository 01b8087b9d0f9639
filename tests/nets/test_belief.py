"""The variational belief: the encoder as it runs and as it learns, the decoder's sums, and the evidence bound."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adaptax.nets import RECURRENT
from adaptax.nets.belief import Belief, Story
from adaptax.types import Spec, Timestep, UserError

STEPS, TRIALS = 7, 3


def model(cells: tuple[int, ...] = (), positive: bool = False, network: str = "gru") -> Belief:
    box = gymnasium.spaces.Box(0, 2, (2,), np.float32)
    spec = Spec(box, gymnasium.spaces.Discrete(2), 7)
    return Belief(spec, 4, 5, 8, (6,), cells, positive, network=network, span=STEPS)


def stories() -> Story:
    draw = np.random.default_rng(0)
    reached = draw.integers(0, [2, 3], (TRIALS, STEPS, 2)).astype(np.float32)
    arrays = (draw.normal(size=(TRIALS, STEPS, 8)), draw.normal(size=(TRIALS, STEPS, 4)), reached)
    reward = np.where(draw.uniform(size=(TRIALS, STEPS)) < 0.4, 1.0, -0.1)
    within = np.ones((TRIALS, STEPS))
    return Story(*(jnp.asarray(x, jnp.float32) for x in (*arrays, reward, within)))


@pytest.mark.parametrize("network", RECURRENT)
def test_posteriors_are_the_beliefs_step_by_step(network: str) -> None:
    """`posteriors`, which unrolls whole trials, is the scan of `follow`, which acts: q_T included, the start of an
    episode inside the trial, and streams that have not begun beside those that have."""
    belief, draw = model(network=network), np.random.default_rng(1)
    params = belief.init(jax.random.key(0))
    params = params._replace(head=jax.tree.map(lambda x: x + 0.1, params.head))
    timesteps = Timestep(
        jnp.asarray(draw.integers(0, 3, (TRIALS, STEPS + 1, 2)), jnp.float32),
        jnp.asarray(draw.integers(0, 2, (TRIALS, STEPS + 1)), jnp.int32),
        jnp.asarray(draw.normal(size=(TRIALS, STEPS + 1)), jnp.float32),
        jnp.asarray(np.arange(STEPS + 1) % 3 == 0) & jnp.ones((TRIALS, 1), bool),
    )

    def acted(timesteps: Timestep) -> Any:
        def step(memory: Any, timestep: Timestep) -> tuple[Any, Any]:
            found, memory = belief.follow(params, memory, timestep)
            return memory, found

        return jax.lax.scan(step, belief.start_trial(params), timesteps)[1]

    stepwise = jax.jit(jax.vmap(acted))(timesteps)  # [S, T + 1, 2 Z]
    before = timesteps.observation[:, :-1]
    read = belief.perceive(before, jax.tree.map(lambda x: x[:, 1:], timesteps))
    found = belief.posteriors(params, jnp.swapaxes(read, 0, 1))
    whole = jnp.swapaxes(jnp.concatenate([found.mean, found.log_std], axis=-1), 0, 1)
    assert whole.shape == (TRIALS, STEPS + 1, 8)
    np.testing.assert_allclose(whole, stepwise, atol=1e-5)
    assert np.abs(np.diff(whole, axis=1)).max() > 0.01 and np.ptp(whole[:, -1], axis=0).max() > 0.01
    # Before anything is read: what the head makes of zeros.
    np.testing.assert_array_equal(whole[:, 0], np.broadcast_to(params.head[0].bias, (TRIALS, 8)))


def test_a_trial_longer_than_the_context() -> None:
    belief = model(network="transformer")._replace(span=STEPS - 1)
    with pytest.raises(UserError, match="7 steps are more than the transformer's context of 6"):
        belief.loss(belief.init(jax.random.key(0)), stories(), 0.1, jax.random.key(1))


def test_places_are_counted_from_the_lowest_observation() -> None:
    box = gymnasium.spaces.Box(np.asarray([-7, -1], np.float32), np.asarray([7, 1], np.float32))
    belief = model((15, 3))._replace(spec=Spec(box, gymnasium.spaces.Discrete(2), 7))
    places = belief.place(jnp.asarray([[-7, -1], [-7, 1], [0, 0], [7, 1]], jnp.float32))
    np.testing.assert_array_equal(places, [0, 2, 3 * 7 + 1, 44])


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("cells", [(2, 3), ()])
def test_the_likelihood_against_a_loop(cells: tuple[int, ...], positive: bool) -> None:
    belief = model(cells, positive)
    params, trial = belief.init(jax.random.key(1)), jax.tree.map(lambda x: x[0], stories())
    latents = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4)), jnp.float32)
    found = belief.log_likelihood(params, latents, trial)
    (hidden, last) = params.decoder

    def decode(inputs: Any) -> np.ndarray:
        return np.maximum(inputs @ np.asarray(hidden.weight), 0) @ np.asarray(last.weight)

    for m, latent in enumerate(np.asarray(latents, np.float64)):
        total = 0.0
        for k in range(STEPS):
            reached, reward = np.asarray(trial.reached[k]), float(trial.reward[k])
            if cells:
                output = decode(latent)[int(3 * reached[0] + reached[1])]
            else:
                output = decode(np.concatenate([latent, np.asarray(trial.before[k]), reached]))[0]
            if positive:
                chance = 1 / (1 + np.exp(-output))
                total += np.log(chance if reward > 0 else 1 - chance)
            else:
                total += -0.5 * (output - reward) ** 2
        assert float(found[m]) == pytest.approx(total, rel=1e-4)


def test_the_bound_sums_over_beliefs_and_steps_and_is_a_mean_over_trials() -> None:
    belief, trials = model((2, 3), True), stories()
    params, key = belief.init(jax.random.key(2)), jax.random.key(3)
    loss, terms = belief.loss(params, trials, 0.3, key)
    posterior = belief.posteriors(params, jnp.swapaxes(trials.read, 0, 1))
    latent = posterior.sample(key)
    error = divergence = 0.0
    for trial in range(TRIALS):
        mean, std = np.zeros(4), np.ones(4)
        story = jax.tree.map(lambda x, s=trial: x[s], trials)
        for t in range(STEPS + 1):
            error -= float(belief.log_likelihood(params, latent[t, trial][None], story)[0])
            here, spread = np.asarray(posterior.mean[t, trial]), np.exp(np.asarray(posterior.log_std[t, trial]))
            divergence += np.sum(np.log(std / spread) + (spread**2 + (here - mean) ** 2) / (2 * std**2) - 0.5)
            mean, std = here, spread
    assert float(terms["model_error"]) == pytest.approx(error / TRIALS, rel=1e-4)
    assert float(terms["model_divergence"]) == pytest.approx(divergence / TRIALS, rel=1e-4)
    assert float(loss) == pytest.approx((error + 0.3 * divergence) / TRIALS, rel=1e-4)


def test_states_are_predicted_from_the_step_before() -> None:
    """What a second decoder adds to the likelihood of rewards, against a loop."""
    trials, alone, belief = stories(), model(), model()._replace(state_weight=0.3)
    params = belief.init(jax.random.key(0))
    assert jax.tree.structure(alone.init(jax.random.key(0))) != jax.tree.structure(params)
    latent, story = jax.random.normal(jax.random.key(1), (2, 4)), jax.tree.map(lambda x: x[0], trials)
    found = belief.log_likelihood(params, latent, story) - alone.log_likelihood(params, latent, story)
    first, last = (jax.tree.map(np.asarray, layer) for layer in params.state_decoder)
    expected = np.zeros(2)
    for m in range(2):
        for k in range(STEPS):
            inputs = np.concatenate([latent[m], story.before[k]])
            hidden = np.maximum(inputs @ first.weight + first.bias, 0)
            expected[m] -= 0.15 * np.sum((hidden @ last.weight + last.bias - np.asarray(story.reached[k])) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("cells", "state_weight"), [((2, 3), 0.0), ((), 0.4)])
def test_some_of_the_terms_are_expected_to_be_all_of_them(cells: tuple[int, ...], state_weight: float) -> None:
    """With latents that do not vary, the mean over draws of 3 beliefs × 2 steps is the whole sum; as many as there are
    give the whole sum itself."""
    belief = model(cells)._replace(state_weight=state_weight)
    params = belief.init(jax.random.key(0))
    bias = params.head[0].bias.at[4:].set(-20.0)  # log σ
    params = params._replace(
        head=(params.head[0]._replace(weight=params.head[0].weight.at[:, 4:].set(0.0), bias=bias),)
    )
    keys = jax.random.split(jax.random.key(2), 4000)

    def error(belief: Belief) -> Any:
        return jax.jit(jax.vmap(lambda key: belief.loss(params, stories(), 0.1, key)[1]["model_error"]))(keys)

    whole, some = error(belief), np.asarray(error(belief._replace(beliefs=3, steps=2)))
    np.testing.assert_allclose(some.mean(), whole[0], atol=4 * some.std() / len(some) ** 0.5)
    assert some.std() > 0.02 * whole[0]
    np.testing.assert_array_equal(error(belief._replace(beliefs=STEPS + 1, steps=STEPS)), whole)


def test_it_learns_which_place_pays() -> None:
    """Trials in which the place with the trial's number pays 1: after a visit of it the belief knows it."""
    belief = model((2, 3), True)
    params = belief.init(jax.random.key(4))
    draw = np.random.default_rng(5)
    place = draw.integers(0, 6, (200, STEPS))
    goal = draw.integers(0, 6, (200, 1))
    reached = np.stack([place // 3, place % 3], axis=-1).astype(np.float32)
    reward = np.where(place == goal, 1.0, -0.1).astype(np.float32)
    zeros = np.zeros((200, STEPS, 3), np.float32)
    read = np.concatenate([reached, zeros, reward[..., None], 0 * reached], axis=-1)
    trials = Story(*(jnp.asarray(x) for x in (read, zeros, reached, reward, np.ones_like(reward))))

    optimizer = optax.adam(1e-2)

    @jax.jit
    def learn(params: Any, key: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            params, state = carry
            slope = jax.grad(lambda p: belief.loss(p, trials, 0.01, key)[0])(params)
            change, state = optimizer.update(slope, state)
            return (optax.apply_updates(params, change), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 600))[0][0]

    before = float(belief.loss(params, trials, 0.01, jax.random.key(6))[1]["model_error"])
    params = learn(params, jax.random.key(7))
    after = float(belief.loss(params, trials, 0.01, jax.random.key(6))[1]["model_error"])
    # Knowing nothing costs 0.45 nats for each of 8 × 7 predictions of an event with probability 1/6: 25.2.
    print(before, after)
    assert before > 30 and after < 15
