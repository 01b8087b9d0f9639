"""Checkpoints: bit-exact, atomic, and outspoken about damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptax.run import checkpoint
from adaptax.types import UserError


class State(NamedTuple):
    params: Any
    moments: Any
    iteration: jax.Array
    key: jax.Array


def state(width: int = 3, seed: int = 0) -> State:
    weights = jax.random.normal(jax.random.key(seed), (2, width))
    odd = np.array([np.nan, -0.0, np.inf, 1e-42], np.float32)  # 1e-42: a subnormal
    return State(
        params={"policy": {"w": weights, "b": jnp.zeros((width,), jnp.float16)}, "odd": jnp.asarray(odd)},
        moments=[jnp.ones((0, 4), jnp.int8), jnp.array(True), ()],
        iteration=jnp.array(7, jnp.int32),
        key=jax.random.split(jax.random.key(1), (2, 2)),
    )


def assert_same_bits(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and type(a) is type(b)
        if isinstance(a, jax.Array):
            assert jnp.issubdtype(b.dtype, jax.dtypes.prng_key) or not b.weak_type
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                assert jax.random.key_impl(a) == jax.random.key_impl(b)
                a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    before = state()
    path = checkpoint.save(tmp_path / "new" / "folder", before, iteration=7, details={"seed": 3, "of": {"a": [1]}})
    assert path == checkpoint.latest(tmp_path / "new" / "folder")
    after, iteration, details = checkpoint.restore(tmp_path / "new" / "folder", state(seed=5))
    assert_same_bits(before, after)
    assert (iteration, details) == (7, {"seed": 3, "of": {"a": [1]}})


def test_shapes_alone_are_a_template(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, state(), iteration=1, details={})
    after, _, _ = checkpoint.restore(tmp_path, jax.eval_shape(state))
    assert_same_bits(state(), after)


def test_a_key_comes_back_with_its_implementation(tmp_path: Path) -> None:
    key = jax.random.key(4, impl="rbg")
    checkpoint.save(tmp_path, key, iteration=1, details={})
    after, _, _ = checkpoint.restore(tmp_path, jax.random.key(0, impl="rbg"))
    assert_same_bits(key, after)
    with pytest.raises(UserError, match=r"the only leaf is key<rbg> \[\] there and key<fry> \[\] here"):
        checkpoint.restore(tmp_path, jax.random.key(0))


def test_numpy_leaves_stay_numpy_and_keep_float64(tmp_path: Path) -> None:
    tree = {"big": np.arange(6, dtype=np.float64).reshape(2, 3).T, "count": np.array(2**40)}
    checkpoint.save(tmp_path, tree, iteration=1, details={})
    after, _, _ = checkpoint.restore(tmp_path, tree)
    assert after["big"].dtype == np.float64 and after["count"] == 2**40
    np.testing.assert_array_equal(after["big"], tree["big"])
    after["big"][0, 0] = 9.0  # not a read-only view


def test_a_weakly_typed_leaf_comes_back_with_its_dtype(tmp_path: Path) -> None:
    weak = jnp.asarray(1.5)
    assert weak.weak_type
    checkpoint.save(tmp_path, weak, iteration=1, details={})
    after, _, _ = checkpoint.restore(tmp_path, weak)
    assert after.dtype == jnp.float32 and not after.weak_type


def test_a_restored_state_can_be_donated(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, jnp.arange(8.0), iteration=1, details={})
    after, _, _ = checkpoint.restore(tmp_path, jnp.zeros(8))
    bumped = jax.jit(lambda x: x + 1, donate_argnums=0)(after)
    np.testing.assert_array_equal(bumped, np.arange(1.0, 9.0))
    np.testing.assert_array_equal(checkpoint.restore(tmp_path, jnp.zeros(8))[0], np.arange(8.0))


def test_only_the_newest_stay(tmp_path: Path) -> None:
    for iteration in (5, 999_999, 1_000_000, 20):
        checkpoint.save(tmp_path, state(), iteration=iteration, details={})
    # What was just written stays even when older runs left higher numbers.
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint-1000000.safetensors",
        "checkpoint-000020.safetensors",
    }
    latest = checkpoint.latest(tmp_path)
    assert latest is not None and latest.name == "checkpoint-1000000.safetensors"
    with pytest.raises(ValueError, match="keep is 0"):
        checkpoint.save(tmp_path, state(), iteration=1, details={}, keep=0)


def test_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "missing") is None
    with pytest.raises(UserError, match="there is no checkpoint in"):
        checkpoint.restore(tmp_path, state())


def test_a_tree_without_leaves(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, (), iteration=0, details={})
    assert checkpoint.restore(tmp_path, ()) == ((), 0, {})


def two_checkpoints(directory: Path) -> tuple[Path, bytes]:
    checkpoint.save(directory, state(seed=1), iteration=120, details={})
    newest = checkpoint.save(directory, state(seed=2), iteration=140, details={})
    return newest, newest.read_bytes()


def test_any_flipped_byte_is_detected(tmp_path: Path) -> None:
    newest, good = two_checkpoints(tmp_path)
    for place in range(0, len(good), 3):
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        newest.write_bytes(bad)
        with pytest.raises(UserError, match="delete it to go on from checkpoint-000120.safetensors"):
            checkpoint.restore(tmp_path, state())
    newest.unlink()  # what the message says to do
    assert_same_bits(state(seed=1), checkpoint.restore(tmp_path, state())[0])


def test_any_truncation_is_detected(tmp_path: Path) -> None:
    newest, good = two_checkpoints(tmp_path)
    for length in [*range(0, 40), *range(40, len(good), 41), len(good) - 1]:
        newest.write_bytes(good[:length])
        with pytest.raises(UserError, match="checkpoint-000140.safetensors is damaged: .* delete it"):
            checkpoint.restore(tmp_path, state())
    newest.write_bytes(good + b"\0")
    with pytest.raises(UserError, match="does not match its SHA-256"):
        checkpoint.restore(tmp_path, state())


def test_damage_without_a_way_back(tmp_path: Path) -> None:
    newest, good = two_checkpoints(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(good[:-5])
    with pytest.raises(UserError, match="no earlier one that is intact"):
        checkpoint.restore(tmp_path, state())


def test_a_mismatch_names_the_leaf_and_both_shapes(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, state(width=3), iteration=1, details={})
    with pytest.raises(UserError, match=r"policy'\]\['b'\] is float16 \[3\] there and float16 \[4\] here"):
        checkpoint.restore(tmp_path, state(width=4))
    with pytest.raises(UserError, match=r"it lacks \.params\['extra'\], float32 \[2\] here"):
        checkpoint.restore(tmp_path, state()._replace(params={**state().params, "extra": jnp.zeros(2)}))
    with pytest.raises(UserError, match=r"it holds \.moments\[1\], bool \[\], which has no place here"):
        checkpoint.restore(tmp_path, state()._replace(moments=state().moments[:1]))


def test_a_newer_schema_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SCHEMA", 2)
    checkpoint.save(tmp_path, state(), iteration=1, details={})
    monkeypatch.undo()
    with pytest.raises(UserError, match="newer adaptax .checkpoint schema 2; this one reads up to 1"):
        checkpoint.restore(tmp_path, state())


def test_details_cannot_confuse_the_digest(tmp_path: Path) -> None:
    details = {"sha256": "1" * 64, "text": '"sha256":"' + "2" * 64 + '"'}
    checkpoint.save(tmp_path, {"sha256": jnp.ones(2)}, iteration=1, details=details)
    assert checkpoint.restore(tmp_path, {"sha256": jnp.ones(2)})[2] == details


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_failed_save_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    checkpoint.save(tmp_path, state(seed=1), iteration=1, details={})
    checkpoint.save(tmp_path, state(seed=2), iteration=2, details={})
    before = {path.name for path in tmp_path.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "open":
        monkeypatch.setattr(Path, "open", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(UserError, match="-000003.safetensors could not be written: No space left on device"):
        checkpoint.save(tmp_path, state(seed=3), iteration=3, details={})
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == before
    assert_same_bits(state(seed=2), checkpoint.restore(tmp_path, state())[0])


def test_a_kill_before_the_rename_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, state(seed=1), iteration=1, details={})

    class Killed(BaseException):
        """Like SIGKILL: nothing after it runs."""

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(Killed):
        checkpoint.save(tmp_path, state(seed=2), iteration=2, details={})
    monkeypatch.undo()
    assert (tmp_path / ".checkpoint-000002.safetensors.partial").exists()
    assert_same_bits(state(seed=1), checkpoint.restore(tmp_path, state())[0])
    checkpoint.save(tmp_path, state(seed=3), iteration=3, details={})
    assert not list(tmp_path.glob(".*"))  # the leftover went with the next save


SAVER = """
import sys, itertools
from pathlib import Path
import numpy as np
from adaptax.run import checkpoint
directory = Path(sys.argv[1])
for i in itertools.count(1):
    checkpoint.save(directory, {"w": np.full(200_000, i, np.float32)}, iteration=i, details={"i": i})
    print(i, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_loadable_one(tmp_path: Path) -> None:
    template = {"w": np.zeros(200_000, np.float32)}
    source = str(Path(checkpoint.__file__).parents[2])
    for attempt in range(4):
        directory = tmp_path / str(attempt)
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(directory)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source},
        )
        assert saver.stdout is not None
        with saver.stdout:
            saver.stdout.readline()
            time.sleep(0.02 + 0.0137 * attempt)
            saver.send_signal(signal.SIGKILL)
            printed = [int(line) for line in saver.stdout.read().splitlines() if line.strip()]
        saver.wait()
        tree, iteration, details = checkpoint.restore(directory, template)
        assert details == {"i": iteration} and (tree["w"] == iteration).all()
        assert iteration >= max(printed, default=1)  # what was reported as saved is there
        shutil.rmtree(directory)


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, {"w": jnp.ones(2)}, iteration=3, details={"a": 1})
    blob = path.read_bytes()
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    assert set(header) == {"__metadata__", "['w']"}
    assert header["__metadata__"]["iteration"] == "3"
