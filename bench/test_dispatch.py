# SPDX-License-Identifier: GPL-2.0-only
"""What a decision costs: the real dispatch loop over real rings of this machine's kernel.

A round is 4,096 tasks: BPF writes their records, the loop drains, decides and submits
them (all that is timed), BPF takes the decisions. `us_per_task` in the results is the
median round over its tasks, `sched_yield` and all included.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from pyland.kernel.loader import QUEUE_CAP
from pyland.kernel.loop import DispatchLoop
from pyland.policies.deadline import Deadline
from pyland.policy import Slices
from pyland.topology import read_topology
from tests.rings.harness import Rings, RingsUnavailable


class _UntilAnswered(Deadline):
    """Ends the loop with the last record of a round."""

    def __init__(self, rings: Rings) -> None:
        super().__init__(Slices(), read_topology())
        self._rings = rings
        self.left = 0

    def decide(
        self, tasks: Iterable[tuple[int, ...]], nr_runnable: int, weight_runnable: int
    ) -> list[int]:
        flat = super().decide(tasks, nr_runnable, weight_runnable)
        self.left -= len(flat) // 7
        if self.left <= 0:
            self._rings.shared.exited = 1
        return flat


@pytest.mark.parametrize("batch", [1, 4, 16, 64, 512])
def test_cycle_per_task(benchmark: Any, batch: int) -> None:
    try:
        rings = Rings()
    except RingsUnavailable as reason:
        pytest.skip(f"no BPF here: {reason}")
    policy = _UntilAnswered(rings)
    loop = DispatchLoop(rings.shim, policy, max_batch=batch)
    loop.warm_up(Deadline(Slices(), read_topology()))

    def fresh_round() -> None:
        rings.consume(2 * QUEUE_CAP)
        policy.left = rings.produce(QUEUE_CAP)
        rings.shared.exited = 0

    benchmark.pedantic(loop.run, setup=fresh_round, rounds=40, warmup_rounds=3)
    benchmark.extra_info["batch"] = batch
    benchmark.extra_info["us_per_task"] = benchmark.stats.stats.median / QUEUE_CAP * 1e6
    rings.close()
