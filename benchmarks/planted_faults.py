"""Which suite notices a planted fault: today's, and that of commit abefc1b, which took two and a half times as long.

python benchmarks/planted_faults.py [--only NAME ...] [--suite now|then ...]

Each fault is an exact replacement in one file. It is planted in a temporary worktree of the commit, where one test is
run that has to fail; before that, the named tests pass there without a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "planted_faults.json"
COMMITS = {"now": "HEAD", "then": "abefc1b"}
CONTRACT = "tests/test_contract.py::test_"


class Fault(NamedTuple):
    """`then` replaces file, old, new and test for abefc1b where they differ there."""

    name: str
    file: str  # in src/adaptax/
    old: str
    new: str
    test: str
    then: dict[str, str] = {}


FAULTS = [
    # ops
    Fault(
        "returns go on over the end of an episode",
        "ops/returns.py",
        "value = reward + discount * jnp.where(stop, 0.0, value)",
        "value = reward + discount * value",
        "tests/ops/test_returns.py::test_discounted_returns_by_hand",
    ),
    Fault(
        "a time limit is worth nothing",
        "ops/returns.py",
        "discount * jnp.where(terminated, 0.0, next_values)",
        "discount * jnp.where(terminated | truncated, 0.0, next_values)",
        "tests/ops/test_returns.py::test_a_terminal_state_is_worth_nothing_and_a_time_limit_is_not",
    ),
    Fault(
        "the clip takes the better of both ratios",
        "ops/policy_losses.py",
        "-jnp.mean(jnp.minimum(ratio * advantages",
        "-jnp.mean(jnp.maximum(ratio * advantages",
        "tests/ops/test_policy_losses.py::test_by_hand",
    ),
    Fault(
        "a squashed density forgets its change of variables",
        "ops/squashed.py",
        "log_probability(before) - jnp.sum(slope, axis=-1)",
        "log_probability(before)",
        "tests/ops/test_squashed.py::test_log_probability_against_the_change_of_variables",
    ),
    Fault(
        "double Q-learning takes the target network's best action",
        "ops/temporal_difference.py",
        "jnp.argmax(online_next if double else target_next, axis=-1)",
        "jnp.argmax(target_next, axis=-1)",
        "tests/ops/test_temporal_difference.py::test_q_learning_targets",
    ),
    Fault(
        "running moments leave out how far means lie apart",
        "ops/running.py",
        "within + share * (1.0 - share) * jnp.square(apart)",
        "within",
        "tests/ops/test_running.py::test_moments_of_batches_are_those_of_all_numbers",
    ),
    Fault(
        "a product of Gaussians counts the prior as a factor",
        "ops/gaussian_product.py",
        "GaussianProduct(jnp.zeros((size,), jnp.float32), jnp",
        "GaussianProduct(jnp.ones((size,), jnp.float32), jnp",
        "tests/ops/test_gaussian_product.py::test_without_factors_there_is_the_prior_and_it_is_no_factor",
    ),
    # nets and rings
    Fault(
        "the GRU's own derivative forgets the reset gate",
        "nets/recurrent.py",
        "[toward_reset, toward_update, toward_new * reset]",
        "[toward_reset, toward_update, toward_new]",
        "tests/nets/test_networks.py::test_gradients_are_those_of_the_steps",
    ),
    Fault(
        "the LSTM has no memory",
        "nets/recurrent.py",
        "cell = forget * before + enter * candidate",
        "cell = enter * candidate",
        "tests/nets/test_recurrent.py::test_lstm_is_equinox_lstm",
    ),
    Fault(
        "a full ring writes over its newest items",
        "buffers.py",
        "places = (ring.added + jnp.arange(count, dtype=jnp.int32)) % capacity",
        "places = (ring.added - 1 - jnp.arange(count, dtype=jnp.int32)) % capacity",
        "tests/test_buffers.py",
    ),
    # algorithms: what the contract holds against all of them
    Fault(
        "MAML does not adapt",
        "algorithms/maml.py",
        "return self._adapt(params, adapted, self._batch(rollout))",
        "return adapted._replace(steps=adapted.steps + 1)",
        CONTRACT + "the_meta_gradient_replays_the_deployed_adapt[maml-navigation]",
    ),
    Fault(
        "MAML's update forgets the inner step",
        "algorithms/maml.py",
        "for index in range(self.inner_steps):",
        "for index in range(0):",
        CONTRACT + "the_update_sees_the_policy_that_acted[maml-navigation]",
    ),
    Fault(
        "MAML learns the step sizes that it should keep",
        "algorithms/maml.py",
        "return params if self.learn_step_sizes else params.policy",
        "return params",
        CONTRACT + "every_parameter_that_should_move_moves[maml-navigation]",
    ),
    Fault(
        "adapt returns another type than it is given",
        "algorithms/maml.py",
        "return MAMLAdapted(policy, adapted.steps + 1)",
        "return MAMLAdapted(policy, adapted.steps + 1.0)",
        CONTRACT + "act_and_adapt_are_pure[maml-navigation]",
    ),
    Fault(
        "the iteration becomes a float",
        "algorithms/rl2.py",
        "return RL2State(params, optimizer, state.iteration + 1), metrics",
        "return RL2State(params, optimizer, state.iteration + 1.0), metrics",
        CONTRACT + "update_keeps_the_form_of_the_state[rl2-navigation]",
        {"test": CONTRACT + "update_keeps_the_form_of_the_state_and_compiles_once[rl2-navigation]"},
    ),
    Fault(
        "RL²'s update reads trials from another memory",
        "algorithms/rl2.py",
        "self._encoder.unroll(params.recurrence, batch.memory, batch.inputs)",
        "self._encoder.unroll(params.recurrence, jax.tree.map(lambda x: x + 1, batch.memory), batch.inputs)",
        CONTRACT + "the_update_sees_the_policy_that_acted[rl2-navigation]",
    ),
    Fault(
        "RL²'s heads do not learn",
        "algorithms/rl2.py",
        "outputs = hidden @ params.heads + params.bias",
        "outputs = hidden @ jax.lax.stop_gradient(params.heads) + params.bias",
        CONTRACT + "every_parameter_that_should_move_moves[rl2-bandit]",
    ),
    # run
    Fault(
        "a checkpoint is not checked for damage",
        "run/checkpoint.py",
        "    while block := file.read(_BLOCK):\n        digest.update(block)\n    return place",
        "    return place",
        "tests/run/test_checkpoint.py::test_any_flipped_byte_is_detected",
    ),
    Fault(
        "a failed save leaves half a file",
        "run/checkpoint.py",
        "            partial.unlink(missing_ok=True)",
        "            pass",
        "tests/run/test_checkpoint.py::test_a_failed_save_leaves_the_one_before",
    ),
    Fault(
        "renewed lives keep the memory of the life before",
        "run/collect.py",
        "select(ended, memory, before.memory)",
        "before.memory",
        "tests/run/test_collect.py::test_lives_go_on_and_are_renewed_on_fresh_tasks",
    ),
    # environments
    Fault(
        "the hill of the treasure pays the wrong way up",
        "envs/treasure.py",
        "STEP - height",
        "STEP + height",
        "tests/envs/test_treasure.py::test_what_a_place_pays",
    ),
    Fault(
        "a bandit pays by the arm before",
        "envs/bandit.py",
        "task.probabilities[action]",
        "task.probabilities[action - 1]",
        "tests/envs/test_stepping.py::test_bandit_wins_with_the_probability_of_the_arm",
    ),
    Fault(
        "GridNavi walks out of its grid",
        "envs/gridnavi.py",
        "jnp.clip(state + jnp.stack([right, up]), 0.0, CELLS - 1.0)",
        "state + jnp.stack([right, up])",
        "tests/envs/test_stepping.py::test_gridnavi_against_numpy",
    ),
    # report
    Fault(
        "an interval divides by n in place of n − 1",
        "report/statistics.py",
        "x.std(axis, ddof=1)",
        "x.std(axis)",
        "tests/report/test_statistics.py::test_mean_interval_by_hand",
    ),
    Fault(
        "a table shows 1 000 k",
        "report/tables.py",
        "if abs(value) >= 0.9995 * size:",
        "if abs(value) >= size:",
        "tests/report/test_tables.py::test_other_numbers",
    ),
    # a trained agent at work, and the command line
    Fault(
        "an interrupted episode counts as one that goes on",
        "live/agent.py",
        "self._seen.truncated[stream, step] = True",
        "self._seen.truncated[stream, step] = False",
        "tests/run/test_live.py::test_an_interrupted_episode_counts_as_truncated",
        {
            "file": "run/live.py",
            "old": "self._seen.truncated[counts.stream, counts.step - 1] = True",
            "new": "self._seen.truncated[counts.stream, counts.step - 1] = False",
            "test": "tests/run/test_live.py::test_an_interrupted_episode_counts_as_truncated",
        },
    ),
    Fault(
        "an unknown command says nothing of its neighbours",
        "cli/__init__.py",
        "difflib.get_close_matches(words[0], COMMANDS, n=1) or",
        "",
        "tests/test_cli.py::test_bad_words",
    ),
    Fault(
        "compiled programs go nowhere",
        "cli/__init__.py",
        'jax.config.update("jax_compilation_cache_dir", place)',
        "pass",
        "tests/test_cli.py::test_compiled_programs_are_kept",
        {"test": "tests/test_cli.py::test_the_cache_is_used"},
    ),
]


def run_tests(tree: Path, *tests: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, check=False).returncode


def noticed(fault: Fault, suite: str, tree: Path) -> bool:
    """Whether the test fails (1, and not for want of a test) while the fault is there."""
    planted = fault._replace(**fault.then) if suite == "then" else fault
    path = tree / "src" / "adaptax" / planted.file
    text = path.read_text("utf-8")
    if text.count(planted.old) != 1:
        raise SystemExit(f"{planted.name} ({suite}): its text stands {text.count(planted.old)} times in {planted.file}")
    path.write_text(text.replace(planted.old, planted.new), "utf-8")
    try:
        return run_tests(tree, planted.test) == 1
    finally:
        path.write_text(text, "utf-8")


def record(fault: Fault, suite: str, found: bool) -> None:
    """Write down one verdict beside those that are there."""
    faults = json.loads(RESULT.read_text("utf-8"))["faults"] if RESULT.is_file() else {}
    faults.setdefault(fault.name, {"file": fault.file, "test": fault.test})[suite] = found
    now, then = (sum(row.get(suite, False) for row in faults.values()) for suite in COMMITS)
    tried = sum("then" in row for row in faults.values())
    result = {
        "schema": 1,
        "recipe": "planted_faults",
        "title": "Faults planted in the code, each with one test that has to fail",
        "metric": "faults that the tests notice",
        "seeds": [0],
        "value": now,
        "target": f">= {len(faults)}",
        "met": now == len(faults),
        "note": f"of {len(faults)}; the tests of abefc1b notice {then} of {tried} that were planted there",
        "command": "python benchmarks/planted_faults.py",
        "faults": faults,
    }
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of faults")
    parser.add_argument("--suite", nargs="*", choices=tuple(COMMITS), default=list(COMMITS))
    chosen = parser.parse_args()
    faults = [fault for fault in FAULTS if not chosen.only or fault.name in chosen.only]
    for suite in chosen.suite:
        with tempfile.TemporaryDirectory() as place:
            tree = Path(place) / "tree"
            subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", tree, COMMITS[suite]], check=True)
            try:
                tests = {(fault.then if suite == "then" else {}).get("test", fault.test) for fault in faults}
                sound = run_tests(tree, *tests)
                for fault in faults:
                    found = sound == 0 and noticed(fault, suite, tree)
                    record(fault, suite, found)
                    print(f"{suite}: {'noticed' if found else 'MISSED'}: {fault.name}", flush=True)
            finally:
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)


if __name__ == "__main__":
    main()
