# SPDX-License-Identifier: GPL-2.0-only
"""Who wakes up is not left behind those who compute, and costs no decision that is none."""

from __future__ import annotations

import os
import time

import pytest

from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tools.load.programs import Command, Hogs, Sleeper, Stress, available


def test_it_interrupts_a_task_that_is_due_later(start: Start, record: Record) -> None:
    """A sleeper that may run on one CPU only: the hog there makes room for it."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 6), Sleeper(600) as sleeper:
        os.sched_setaffinity(sleeper.pid, {0})
        time.sleep(scaled(20))
        wakeups = sleeper.wakeups(early=True)
    end = scheduler.end()
    record(p50_us=wakeups.p50_us, p99_us=wakeups.p99_us, totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["preemptions"] > 0
    assert end.totals["wakeup_kicks"] > 0


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_the_only_task_for_a_free_cpu_is_not_decided(start: Start, record: Record) -> None:
    """Pairs that wake each other: a CPU that falls free takes the one task that waits."""
    scheduler = start()
    with undisturbed(scheduler), Stress("--switch 2", scaled(20)) as stress:
        assert stress.wait(scaled(20) + 90) == 0, stress.output
    end = scheduler.end()
    record(totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["alone"] > 0


@pytest.mark.skipif(not available("hackbench"), reason="no hackbench here")
def test_records_gather_while_decided_tasks_wait(start: Start, record: Record) -> None:
    """Eighty processes that talk to each other: one cycle decides for several of them."""
    scheduler = start()
    with undisturbed(scheduler), Command("hackbench", "-P", "-g", "2", "-l", "100") as bench:
        assert bench.wait(120) == 0, bench.output
    end = scheduler.end()
    totals = end.totals
    record(per_cycle=totals["forwarded"] / totals["cycles"], totals=dict(totals.counts))
    ended_well(end)
    assert totals["forwarded"] > 3 * totals["cycles"]
