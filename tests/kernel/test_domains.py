# SPDX-License-Identifier: GPL-2.0-only
"""Domains that a policy declares, on eight CPUs: home, spill, rank and gauges."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pyland.stats.places import DEFAULT_PATH
from tests.kernel.harness import Record, Start, ended_well, swap, undisturbed
from tests.kernel.running import Running
from tests.support.statistics import asked
from tools.load.programs import Hogs, Sleeper

NR_CPUS = 8
SECONDS = 2
POLICY = f"{Path(__file__).with_name('placing.py')}:Confining"

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def test_tasks_run_where_their_domain_lets_them(start: Start, record: Record) -> None:
    """A confined domain, one that spills, and one that interrupts; then a policy without any."""
    scheduler = start("--policy", POLICY)
    with undisturbed(scheduler), Hogs(600, [5] * 6 + [0] * 8) as hogs, Sleeper(600) as sleeper:
        confined, spilling = hogs.pids[:6], hogs.pids[6:]
        time.sleep(1)
        with Running() as running:
            before = hogs.cpu_s()
            time.sleep(SECONDS)
            used_s = {pid: now - before[pid] for pid, now in hogs.cpu_s().items()}
        own = asked(DEFAULT_PATH)["policy_gauges"]
        wakeups = sleeper.wakeups(early=True)
        swap(policy="deadline")
        time.sleep(0.3)
        with Running() as afterwards:
            time.sleep(1)
        hogs.shares(early=True)
    end = scheduler.end()
    gauges = {name: value["policy_gauge"] for name, value in own.items()}
    record(
        used_s=used_s,
        confined=sorted(set().union(*map(running.cpus_of, confined))),
        spilling=sorted(set().union(*map(running.cpus_of, spilling))),
        p50_us=wakeups.p50_us,
        p99_us=wakeups.p99_us,
        gauges=gauges,
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    for pid in confined:
        assert running.cpus_of(pid) <= {0, 1}
    for pid in spilling:
        assert running.cpus_of(pid) <= {2, 3, 4, 5, 6, 7}
    assert set().union(*map(running.cpus_of, spilling)) == {2, 3, 4, 5, 6, 7}
    for pids in (confined, spilling):
        mean_s = sum(used_s[pid] for pid in pids) / len(pids)
        assert all(0.8 < used_s[pid] / mean_s < 1.2 for pid in pids)
    assert gauges["confined_runnable"] == 6
    assert gauges["spilling_runnable"] == 8
    assert 3 <= gauges["confined_waiting"] <= 6
    assert gauges["confined_used_ms"] > 1000
    assert 0 < gauges["confined_head_waits_ms"] < 200
    assert set().union(*map(afterwards.cpus_of, confined)) > {0, 1}, "the old domains still count"
