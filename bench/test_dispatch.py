# SPDX-License-Identifier: GPL-2.0-only
"""What a decision costs: the real dispatch loop over real rings of this machine's kernel.

A round is 4,096 tasks (or 10,000 that all wait at once): BPF writes their records, the
loop drains, decides and submits them (all that is timed), BPF takes the decisions.
`us_per_task` in the results is the median round over its tasks, `sched_yield` and all
included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyland.finder import choose
from pyland.kernel.loader import MAX_BATCH
from pyland.kernel.loop import DispatchLoop
from pyland.policies import BUILTINS
from pyland.policy import Batch, Policy
from tests.rings.harness import Rings, RingsUnavailable

ROUND = 4096


@pytest.fixture
def rings() -> Any:
    """Both rings, empty."""
    try:
        made = Rings()
    except RingsUnavailable as reason:
        pytest.skip(f"no BPF here: {reason}")
    yield made
    made.close()


def until_answered(policy: type[Policy], rings: Rings) -> type[Policy]:
    """The policy, ending the loop with the last record of a round."""

    class UntilAnswered(policy):  # type: ignore[misc, valid-type]
        left = 0

        def decide(self, batch: Batch) -> Any:
            decisions = super().decide(batch)
            self.left -= batch.nr
            if self.left <= 0:
                rings.shared.exited = 1
            return decisions

    return UntilAnswered


def measure(benchmark: Any, rings: Rings, name: str, batch: int, queued: int = ROUND) -> None:
    """Rounds of `queued` tasks through a built-in policy, at most `batch` of them a cycle."""
    policy = until_answered(choose(name, (), folder=Path("/")).policy, rings)
    machine = rings.machine()
    made: Any = policy.create(machine)
    loop = DispatchLoop(rings.shim, made, machine, max_batch=batch)
    loop.warm_up(policy.create(machine))
    machine.pending.clear()

    def fresh_round() -> None:
        rings.consume(2 * queued)
        made.left = rings.produce(queued)
        assert made.left == queued
        rings.shared.exited = 0

    benchmark.pedantic(loop.run, setup=fresh_round, rounds=40, warmup_rounds=3)
    benchmark.extra_info["batch"] = batch
    benchmark.extra_info["us_per_task"] = benchmark.stats.stats.median / queued * 1e6


@pytest.mark.parametrize("batch", [1, 4, 16, 64, 512])
def test_cycle_per_task(benchmark: Any, rings: Rings, batch: int) -> None:
    measure(benchmark, rings, "deadline", batch)


@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("name", BUILTINS)
def test_policy_per_task(benchmark: Any, rings: Rings, name: str, batch: int) -> None:
    measure(benchmark, rings, name, batch)


@pytest.mark.parametrize("name", BUILTINS)
def test_policy_with_10000_queued(benchmark: Any, rings: Rings, name: str) -> None:
    measure(benchmark, rings, name, MAX_BATCH, queued=10_000)
