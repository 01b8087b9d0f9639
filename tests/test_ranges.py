"""Ranges that stand in the annotations of settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

import pytest

from adaptax.names import registry
from adaptax.ranges import Range, above, at_least, at_most, between, check_ranges
from adaptax.types import UserError


@dataclass(frozen=True)
class Settings:
    tasks: Annotated[int, at_least(1)] = 20
    learning_rate: Annotated[float, above(0)] = 1e-3
    discount: Annotated[float, between(0, 1)] = 0.99
    target_rate: Annotated[float, above(0), at_most(1)] = 0.5
    epsilon: Annotated[float, Range(0, 1, below=True)] = 0.0
    hidden: Annotated[tuple[int, ...], at_least(1)] = (64, 64)
    steps: Annotated[int | None, at_least(1)] = None
    model: Literal["gaussian", "bernoulli"] = "gaussian"
    free: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self)


@pytest.mark.parametrize(
    "fields",
    [
        {"tasks": 1},
        {"discount": 0.0},
        {"discount": 1.0},
        {"target_rate": 1.0},
        {"hidden": ()},
        {"hidden": [1, 2]},
        {"steps": 1},
        {"model": "bernoulli"},
        {"free": float("nan")},
    ],
)
def test_what_is_in_its_range_passes(fields: dict[str, Any]) -> None:
    Settings(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": 0}, "tasks is 0; it must satisfy 1 ≤ tasks"),
        ({"learning_rate": 0.0}, "learning-rate is 0.0; it must satisfy 0 < learning-rate"),
        ({"learning_rate": float("nan")}, "learning-rate is nan; it must satisfy 0 < learning-rate"),
        ({"discount": 1.5}, "discount is 1.5; it must satisfy 0 ≤ discount ≤ 1"),
        ({"target_rate": 0.0}, "target-rate is 0.0; it must satisfy 0 < target-rate"),
        ({"target_rate": 2.0}, "target-rate is 2.0; it must satisfy target-rate ≤ 1"),
        ({"epsilon": 1.0}, "epsilon is 1.0; it must satisfy 0 ≤ epsilon < 1"),
        ({"hidden": (8, 0)}, "hidden is 0; it must satisfy 1 ≤ hidden"),
        ({"steps": 0}, "steps is 0; it must satisfy 1 ≤ steps"),
        ({"model": "poisson"}, "model is 'poisson'; it must be one of gaussian, bernoulli"),
    ],
)
def test_what_is_not_is_refused_in_one_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        Settings(**fields)
    assert str(refused.value) == message


@pytest.mark.parametrize("name", [name for name, entry in registry.ALGORITHMS.items() if not entry.fixed])
def test_every_number_that_is_set_has_a_range(name: str) -> None:
    """Numbers without one would be accepted whatever they are; those listed are compared with other fields, or may be
    any number."""
    build = registry.algorithm_entry(name).load()
    hints = get_type_hints(build, include_extras=True)
    bare = {field.name for field in fields(build) if hints[field.name] in (int, float, int | None, tuple[int, ...])}
    related = {"capacity", "fine_tuning_capacity", "batch", "context_rounds", "exploration_episodes", "final_entropy"}
    assert bare <= related | ({"entropy"} if name == "rl2-sac" else set())
