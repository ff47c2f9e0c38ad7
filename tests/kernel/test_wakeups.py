# SPDX-License-Identifier: GPL-2.0-only
"""Tasks that wake up do not wait behind tasks that compute, and cost few decisions."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import pytest

from pyland.stats.places import DEFAULT_PATH
from tests.kernel.harness import Record, scaled
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.command import Stress, available
from tools.load.programs import Crowd, Hogs, Sleeper
from tools.load.scheduler import Totals

DISTANCE = f"{Path(__file__).with_name('placing.py')}:Distance"


def test_it_interrupts_a_task_that_is_due_later(shared: Shared, record: Record) -> None:
    """A sleeper that may use one CPU only interrupts the hog there."""
    with shared.turn("deadline") as turn, Hogs(600, [0] * 6), Sleeper(600) as sleeper:
        os.sched_setaffinity(sleeper.pid, {0})
        time.sleep(scaled(20))
        wakeups = sleeper.wakeups(early=True)
    record(p50_us=wakeups.p50_us, p99_us=wakeups.p99_us, totals=dict(turn.totals.counts))
    assert turn.totals["preemptions"] > 0
    # The task has a key at once: no other task makes room for Python.
    assert turn.totals["wakeup_kicks"] == 0


@pytest.mark.counted  # by the clock other work of the host makes decisions late
@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_a_free_cpu_does_not_wait_for_a_decision(shared: Shared, record: Record) -> None:
    """Pairs that wake each other: a decision for a task that runs already holds all the same."""
    with shared.turn("deadline") as turn, Stress("--switch 2", scaled(20)) as stress:
        assert stress.wait(scaled(20) + 90) == 0, stress.output
    record(totals=dict(turn.totals.counts))
    assert turn.totals["amended"] > 0
    assert turn.totals.user_share > 0.95


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_records_gather_while_decided_tasks_wait(shared: Shared, record: Record) -> None:
    """Pairs that wake each other, more than CPUs: one cycle decides for several of them.

    With `fifo`, which is asked about each of their wakeups.
    """
    with shared.turn("fifo") as turn, Stress("--switch 8", scaled(20)) as stress:
        assert stress.wait(scaled(20) + 90) == 0, stress.output
    record(
        per_cycle=turn.totals["forwarded"] / turn.totals["cycles"], totals=dict(turn.totals.counts)
    )
    assert turn.totals["forwarded"] > 3 * turn.totals["cycles"]


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_a_decision_holds_for_its_slice(shared: Shared, record: Record) -> None:
    """Pairs that wake each other thousands of times a second: one decision for many of them."""
    with shared.turn("deadline") as turn, Stress("--switch 8", scaled(20)) as stress:
        assert stress.wait(scaled(20) + 90) == 0, stress.output
    record(
        per_decision=turn.totals["continued"] / turn.totals["forwarded"],
        totals=dict(turn.totals.counts),
    )
    assert turn.totals["continued"] > 2 * turn.totals["forwarded"]


def moves(name: str) -> tuple[int, int]:
    """For processes with this prefix: how often they got a CPU, and how often another CPU."""
    switches = migrations = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text().startswith(name):
                about = (folder / "sched").read_text()
                switches += int(re.findall(r"^nr_switches\s*:\s*(\d+)", about, re.M)[0])
                migrations += int(re.findall(r"^se\.nr_migrations\s*:\s*(\d+)", about, re.M)[0])
    return switches, migrations


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_a_task_that_continues_waits_for_its_own_cpu(shared: Shared, record: Record) -> None:
    """Pairs that wake each other, two for each CPU: half of the turns would move a task."""
    with shared.turn("deadline") as turn, Stress(f"--switch {2 * (os.cpu_count() or 1)}", 600):
        time.sleep(scaled(5))
        before = moves("stress-ng-swit")
        time.sleep(scaled(15))
        after = moves("stress-ng-swit")
    switches, migrations = (b - a for a, b in zip(before, after, strict=True))
    record(switches=switches, migrations=migrations, totals=dict(turn.totals.counts))
    assert switches > 1000
    assert migrations < 0.1 * switches


def turns(pid: int) -> dict[str, int]:
    """How often each thread of a process was put on a CPU."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return {file.parent.name: int(file.read_text().split()[2]) for file in files}


def turns_taken(shared: Shared, record: Record, tasks: int) -> tuple[list[int], Totals]:
    """How often each of this many tasks, which yield every 50 us, got a CPU; the least first."""
    with shared.turn("deadline") as turn, Crowd(600, tasks) as crowd:
        time.sleep(scaled(4))
        before = turns(crowd.pid)
        time.sleep(scaled(10))
        after = turns(crowd.pid)
    each = sorted(after[thread] - before[thread] for thread in before if thread != str(crowd.pid))
    record(least=each[0], most=each[-1], totals=dict(turn.totals.counts))
    assert len(each) == tasks
    return each, turn.totals


def test_a_task_that_yields_goes_behind_all_queued_tasks(shared: Shared, record: Record) -> None:
    """Eight tasks that yield take turns without decisions."""
    each, totals = turns_taken(shared, record, 8)
    assert each[-1] < 2 * each[0]
    assert sum(each) > 5 * totals["forwarded"]


def test_keys_of_tasks_that_yield_stay_near_those_of_others(shared: Shared, record: Record) -> None:
    """Four tasks for each CPU that yield all the time: they ran away from V, 190 ms in 4 s."""
    with shared.turn(DISTANCE), Crowd(600, 4 * (os.cpu_count() or 1), run_us=50):
        ahead_ms = []
        for _ in range(10):
            time.sleep(0.4)
            ahead_ms.append(asked(DEFAULT_PATH)["policy_gauges"]["ahead_ms"]["policy_gauge"])
    record(ahead_ms=ahead_ms)
    assert max(ahead_ms) < 80


@pytest.mark.counted
def test_a_task_that_yields_at_once_runs_for_a_moment(shared: Shared, record: Record) -> None:
    """Eight tasks yield every 5 us: a turn takes the time of a cycle (146 us; else 29 us)."""
    with shared.turn("deadline") as turn, Crowd(600, 8, run_us=5) as crowd:
        time.sleep(scaled(4))
        files = [*Path(f"/proc/{crowd.pid}/task").glob("*/schedstat")]
        each = [[int(value) for value in file.read_text().split()] for file in files]
    mean_ns = sum(ran_ns for ran_ns, _, _ in each) / sum(nr for _, _, nr in each)
    record(mean_us=mean_ns / 1000, totals=dict(turn.totals.counts))
    assert mean_ns > 60_000


def test_one_that_wakes_thousands_up_is_not_left_behind_them(
    shared: Shared, record: Record
) -> None:
    """The last task at a barrier wakes up the others, which then take turns."""
    each, _ = turns_taken(shared, record, 2000)
    assert each[0] > 0
