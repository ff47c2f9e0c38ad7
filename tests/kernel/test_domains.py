# SPDX-License-Identifier: GPL-2.0-only
"""Domains that a policy declares, on eight CPUs: home, spill, rank and gauges."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyland.stats.places import DEFAULT_PATH
from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record, swap
from tests.kernel.running import Running
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.programs import Hogs, Sleeper

NR_CPUS = 8
POLICY = f"{Path(__file__).with_name('placing.py')}:Confining"

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def test_tasks_run_where_their_domain_lets_them(shared: Shared, record: Record) -> None:
    """A confined domain, one that spills, and one that interrupts; then a policy without any.

    It guards where the tasks of a domain run and where they never do, that CPUs which serve several
    domains share fairly, that the gauges are right, and that a swap leaves no domain behind.
    """
    with shared.turn(POLICY) as turn, Hogs(600, [5] * 6 + [0] * 8) as hogs, Sleeper(600) as sleeper:
        confined, spilling = hogs.pids[:6], hogs.pids[6:]
        time.sleep(0.3)
        with Running() as running:
            before = {pid: cpu_ns(pid) for pid in hogs.pids}
            time.sleep(1.2)
            used_s = {pid: (cpu_ns(pid) - before[pid]) / 1e9 for pid in hogs.pids}
        own = asked(DEFAULT_PATH)["policy_gauges"]
        wakeups = sleeper.wakeups(early=True)
        swap(policy="deadline")
        time.sleep(0.2)
        with Running() as afterwards:
            time.sleep(0.3)
    totals = turn.totals
    gauges = {name: value["policy_gauge"] for name, value in own.items()}
    record(
        used_s=used_s,
        confined=sorted(cpus_of(running, confined)),
        spilling=sorted(cpus_of(running, spilling)),
        p50_us=wakeups.p50_us,
        p99_us=wakeups.p99_us,
        gauges=gauges,
        totals=dict(totals.counts),
    )
    assert cpus_of(running, confined) == {0, 1}
    assert cpus_of(running, spilling) == {2, 3, 4, 5, 6, 7}
    for pids in (confined, spilling):
        mean_s = sum(used_s[pid] for pid in pids) / len(pids)
        assert all(0.8 < used_s[pid] / mean_s < 1.2 for pid in pids)
    assert gauges["confined_runnable"] == 6
    assert gauges["spilling_runnable"] == 8
    assert 3 <= gauges["confined_waiting"] <= 6
    assert gauges["confined_used_ms"] > 1000
    assert 0 < gauges["confined_head_waits_ms"] < 200
    assert cpus_of(afterwards, confined) > {0, 1}, "the old domains still count"


def cpus_of(running: Running, pids: Sequence[int]) -> set[int]:
    """The CPUs on which these tasks were put."""
    return set().union(*map(running.cpus_of, pids))
