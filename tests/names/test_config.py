"""The configuration of a run: read as it was written, by older versions too, or refused by a sentence that says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import adaptax
from adaptax import UserError
from adaptax.names import registry
from adaptax.names.config import (
    Config,
    check_same,
    make_config,
    name_algorithm,
    name_benchmark,
    read_config,
    restore,
    write_config,
)
from adaptax.run import checkpoint
from adaptax.run.train import Settings

OLD = Path(__file__).parent / "runs_of_abefc1b"
DISCRETE = ("rl2-dqn", "multitask-dqn")


@pytest.mark.parametrize(
    ("name", "iteration", "digest"),
    [
        ("rl2", 2, "51d65c81dbf7335589c1545a55d32100e8a0b623e18b3650958197e0baae1d84"),
        ("boil", 1, "eb45faa98d25a9011c95a7f50c06e3c2f56c148c91f4e93ba104ee9a6b3aa72c"),
    ],
)
def test_runs_of_an_older_version_load_bit_for_bit(name: str, iteration: int, digest: str) -> None:
    """The digests are those that commit abefc1b gives of its own runs."""
    agent = adaptax.load(OLD / name)
    assert (agent.iteration, checkpoint.digest(agent.all_params)) == (iteration, digest)
    assert agent.config.seeds == (2 if name == "rl2" else 1)


def test_runs_from_before_there_were_workers_had_none(tmp_path: Path) -> None:
    changed(tmp_path, lambda values: [values.pop(name) for name in ("workers", "ray")])
    assert read_config(tmp_path) == read_config(OLD / "rl2")


@pytest.mark.parametrize(
    ("flags", "adapts"),
    [((), "all"), (("adapt_only_head",), "head"), (("adapt_only_body",), "body"), (("adapt_only_context",), "context")],
)
def test_three_flags_are_one_field_now(tmp_path: Path, flags: tuple[str, ...], adapts: str) -> None:
    def flagged(values: dict[str, Any]) -> None:
        names = ("adapt_only_head", "adapt_only_body", "adapt_only_context")
        values["algorithm"] = "maml-trpo"
        values["hyperparameters"] = {"inner_steps": 2, **{name: name in flags for name in names}}

    changed(tmp_path, flagged)
    found = read_config(tmp_path)
    assert found.hyperparameters == {"inner_steps": 2, "adapts": adapts}
    algorithm, _ = restore(tmp_path, found, None, adaptax.benchmark("navigation"))
    assert (getattr(algorithm, "adapts"), getattr(algorithm, "inner_steps")) == (adapts, 2)  # noqa: B009


def test_what_is_left_out_was_0_in_the_first_schema(tmp_path: Path) -> None:
    names = ("steps", "episodes", "decay", "anneal", "decoded_beliefs", "decoded_steps")
    names += ("context_rounds", "judged_exploration", "head_hidden")
    honest = {"exploration_episodes": 0, "entropy": 0.0, "first_order": False}

    def read(schema: int = 1, **fields: Any) -> Mapping[str, Any]:
        written = {**dict.fromkeys(names, 0), **honest}
        changed(tmp_path, lambda values: values.update(schema=schema, hyperparameters=written, **fields))
        return read_config(tmp_path).hyperparameters

    assert read() == {**dict.fromkeys(names), **honest}
    assert read(algorithm="RL2", algorithm_is_named=False) == read(), "an own value of a type of this package"
    assert set(read(algorithm="Theirs", algorithm_is_named=False).values()) == {0}, "what a 0 says there is not known"
    assert set(read(schema=2).values()) == {0}
    changed(tmp_path, lambda values: values.update(schema=2))
    with pytest.raises(UserError, match="^episodes is 0; it must satisfy 1 ≤ episodes$"):
        restore(tmp_path, read_config(tmp_path), None, adaptax.benchmark("bandit"))


@pytest.mark.parametrize(("name", "left_out"), [("rl2", ("episodes", "head_hidden")), ("boil", ("steps",))])
def test_an_older_run_goes_on(name: str, left_out: tuple[str, ...], tmp_path: Path) -> None:
    before = read_config(OLD / name)
    algorithm, _ = restore(OLD / name, before, None, None)
    assert [getattr(algorithm, field) for field in left_out] == [None] * len(left_out)
    written = {field.name: getattr(algorithm, field.name) for field in fields(algorithm) if field.name != "spec"}  # type: ignore[arg-type]
    now = replace(before, hyperparameters=written)
    check_same(before, now, OLD / name, algorithm)
    write_config(tmp_path, now)
    assert json.loads((tmp_path / "config.json").read_text())["schema"] == 2
    assert read_config(tmp_path) == now


@pytest.mark.parametrize("name", [name for name, entry in registry.ALGORITHMS.items() if not entry.fixed])
def test_0_is_no_way_to_leave_something_out(name: str) -> None:
    build = registry.algorithm_entry(name).load()
    made = adaptax.algorithm(name, "gridnavi" if name in DISCRETE else "sparse-navigation")
    optional = [field for field, kind in get_type_hints(build).items() if kind == int | None]
    for field in optional:
        said = field.replace("_", "-")
        with pytest.raises(UserError, match=rf"^{said} is 0; it must satisfy 1 ≤ {said}( ≤ \d+)?$"):
            replace(made, **{field: 0})
    assert optional


def test_a_field_that_came_later_was_its_default_before() -> None:
    before, on = read_config(OLD / "boil"), name_benchmark("navigation", {})
    older = replace(before, hyperparameters={k: v for k, v in before.hyperparameters.items() if k != "context"})

    def same(**changes: Any) -> None:
        given = {k: v for k, v in {**before.hyperparameters, **changes}.items() if k != "adapts"}
        algorithm = name_algorithm("boil", on, given)
        now = replace(before, hyperparameters=make_config(algorithm, "boil", on, Settings(1)).hyperparameters)
        check_same(older, now, OLD / "boil", algorithm)

    same()
    with pytest.raises(UserError, match="was begun with context 2, not 3"):
        same(context=3)


def test_a_config_comes_back_as_it_was(tmp_path: Path) -> None:
    """Tuples among the settings included, though JSON has none."""
    on = name_benchmark("navigation", {"horizon": 6})
    algorithm = name_algorithm("maml", on, {"hidden": (4, 4), "decay": 7})
    written = make_config(algorithm, "maml", on, Settings(3, seed=2))
    write_config(tmp_path, written)
    assert read_config(tmp_path) == written
    assert written.hyperparameters["hidden"] == (4, 4) and written.benchmark_settings["horizon"] == 6
    assert (written.hyperparameters["decay"], written.hyperparameters["steps"]) == (7, None)
    assert isinstance(written, Config) and (written.seed, written.iterations, written.log_every) == (2, 3, 1)


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path) -> None:
    def refused(change: Callable[[dict[str, Any]], Any]) -> str:
        changed(tmp_path, change)
        with pytest.raises(UserError) as raised:
            adaptax.load(tmp_path)
        message = str(raised.value)
        assert message.startswith(str(tmp_path / "config.json"))
        return message

    wrote = "adaptax 0.1.0 at revision abefc1b wrote it and reads it"
    assert "is damaged: it lacks 'seeds'" in refused(lambda values: values.pop("seeds"))
    message = refused(lambda values: values.update(seeds="two"))
    assert "is damaged: seeds is 'two'; it must be a whole number" in message
    assert "iterations is True; it must be a whole number" in refused(lambda values: values.update(iterations=True))
    assert "hyperparameters is []; it must be an object" in refused(lambda values: values.update(hyperparameters=[]))
    assert f"has schema 7, which this version of adaptax does not read; {wrote}" in refused(
        lambda values: values.update(schema=7, git="abefc1b")
    )
    assert f"has 'sleep', which this version of adaptax does not know; {wrote}" in refused(
        lambda values: values.update(sleep=8, git="abefc1b")
    )
    message = refused(lambda values: values.update(algorithm="rl3", git="abefc1b"))
    assert "there is no algorithm 'rl3'; the closest are rl2" in message and message.endswith(wrote)
    assert "algorithm rl2 has no setting 'hiden'; the closest are hidden" in refused(
        lambda values: values["hyperparameters"].update(hiden=4)
    )
    assert "of another version wrote it" in refused(lambda values: values.update(schema=0, versions=None))
    for text in ("{", "[]", "\udcff"):
        (tmp_path / "config.json").write_text(text, errors="surrogateescape")
        with pytest.raises(UserError, match=r"config.json is damaged: "):
            read_config(tmp_path)


def changed(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Write the old run's configuration into `directory`, after `change`."""
    values = json.loads((OLD / "rl2" / "config.json").read_text())
    change(values)
    (directory / "config.json").write_text(json.dumps(values))
