"""Agents that leave nothing to chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..offers import beliefs_of
from ..types import (
    Adapted,
    Array,
    Birth,
    Decision,
    Key,
    Memory,
    Metrics,
    Params,
    Plan,
    Rollout,
    Timestep,
    Trial,
)


@dataclass(frozen=True)
class Deterministic:
    """An algorithm's agent of which nothing is left to chance (`ops.chance`). Every method is written out, so that it
    passes for what `algorithm` is (`offers`)."""

    algorithm: Any
    """An `Algorithm`."""

    @property
    def plan(self) -> Plan:
        return self.algorithm.plan

    def init(self, key: Key) -> Any:
        return self.algorithm.init(key)

    def update(self, state: Any, trials: Trial, key: Key) -> tuple[Any, Metrics]:
        return self.algorithm.update(state, trials, key)

    def begin(self, params: Params, key: Key, birth: Birth) -> Adapted:
        return self.algorithm.begin(params, key, birth)

    def start(self, params: Params) -> Memory:
        return self.algorithm.start(params)

    def act(
        self, params: Params, adapted: Adapted, memory: Memory, timestep: Timestep, key: Key
    ) -> tuple[Decision, Memory]:
        return self.algorithm.act(params, adapted, memory, timestep, None)

    def adapt(self, params: Params, adapted: Adapted, rollout: Rollout, key: Key) -> Adapted:
        return self.algorithm.adapt(params, adapted, rollout, key)

    def believed(self, params: Params, extras: Any, key: Key) -> Array | None:
        return beliefs_of(self.algorithm, params, extras, key)
