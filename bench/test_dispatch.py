# SPDX-License-Identifier: GPL-2.0-only
"""The cost of a decision: the real dispatch loop over real rings of this machine's kernel.

BPF writes all records of a round at once. The loop drains, decides and submits them; this is timed,
with `sched_yield`. Then BPF takes the decisions. `us_per_task` in the results is the median round
without the time to start the loop, divided by its tasks.
"""

from __future__ import annotations

import timeit
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bench.schedulers import POLICIES
from pyland.engine.loop import DispatchLoop
from pyland.loading.finder import choose
from pyland.policy import Batch, Policy
from tools.rings.harness import Rings

ROUND = 4096
ROUNDS = 40


def until_answered(policy: type[Policy], rings: Rings) -> type[Policy]:
    """The policy; it ends the loop with the last record of a round."""

    class UntilAnswered(policy):  # type: ignore[misc, valid-type]
        left = 0

        def decide(self, batch: Batch) -> Any:
            self.left -= batch.nr
            decided = super().decide(batch)
            if self.left <= 0 and not self.nr_held:
                rings.user.exited = 1
            return decided

    return UntilAnswered


def measure(benchmark: Any, rings: Rings, name: str, batch: int, queued: int = ROUND) -> None:
    """Rounds of `queued` tasks through a built-in policy, at most `batch` of them a cycle."""
    spec, *given = name.split()
    choice = choose(spec, given, folder=Path("/"))
    policy = until_answered(choice.policy, rings)
    machine = rings.machine()
    made: Any = policy.create(machine, **choice.options)
    loop = DispatchLoop(rings.shim, made, machine, max_batch=batch)
    loop.warm_up(policy.create(machine, **choice.options))
    machine.outgoing.clear()

    def fresh_start() -> None:
        rings.user.exited = 1

    def fresh_round() -> None:
        while rings.consume(queued) > 0:
            pass
        made.left = rings.produce(queued)
        assert made.left == queued
        rings.user.exited = 0

    rounds = ROUNDS if queued > 1000 else ROUNDS * 25
    starting_s = median(timeit.repeat(loop.run, fresh_start, number=1, repeat=100))
    benchmark.pedantic(loop.run, setup=fresh_round, rounds=rounds, warmup_rounds=3)
    benchmark.extra_info.update(
        policy=name,
        part="cycle",
        batch=batch,
        queued=queued,
        us_per_task=(benchmark.stats.stats.median - starting_s) / queued * 1e6,
    )


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16, 64, 512])
@pytest.mark.parametrize("name", POLICIES)
def test_cycle(benchmark: Any, rings: Rings, name: str, batch: int) -> None:
    measure(benchmark, rings, name, batch)


@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("name", ["bench.composed:One", "bench.composed:Twelve"])
def test_parts(benchmark: Any, rings: Rings, name: str, batch: int) -> None:
    """`deadline` in one part and in twelve, beside what `test_cycle` finds for it alone."""
    measure(benchmark, rings, name, batch)
    benchmark.extra_info["part"] = "parts"


@pytest.mark.parametrize("queued", [10, 100, 1000, 10_000, 100_000])
@pytest.mark.parametrize("name", POLICIES)
def test_queued(benchmark: Any, rings: Rings, name: str, queued: int) -> None:
    """In batches of eight for each number of tasks, so that nothing else differs."""
    measure(benchmark, rings, name, 8, queued)
