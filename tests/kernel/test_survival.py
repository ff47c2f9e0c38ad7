# SPDX-License-Identifier: GPL-2.0-only
"""pyland is stopped, killed or ended: the machine runs on, and its settings are put back."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.kernel.harness import GAP_S, Record, Start, Unchanged, ended_well, scaled, undisturbed
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import kernel_state, until

pytestmark = [pytest.mark.counted, pytest.mark.long]


def test_a_stopped_scheduler_costs_no_task_its_turn(start: Start, record: Record) -> None:
    """A stop outlasts the time that the kernel's watchdog lets a task wait; then Python decides."""
    scheduler = start("--stats", "1")
    with undisturbed(scheduler), Hogs(600, [0] * 6) as hogs, Sleeper(600) as sleeper:
        time.sleep(5)
        with scheduler.stopped():
            before = hogs.cpu_s()
            time.sleep(scaled(30, at_least=15))
            after = hogs.cpu_s()
        resumed = len(scheduler.rows())
        time.sleep(8)
        wakeups = sleeper.wakeups(early=True)
        shares = hogs.shares(early=True)
    end = scheduler.end()
    rows = scheduler.rows()[resumed + 1 :]
    record(
        wakeup_max_s=wakeups.max_us / 1e6,
        gap_s=shares.longest_gap_s,
        decided_after=sum(row["python"] for row in rows),
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    starved = [pid for pid in before if after[pid] == before[pid]]
    assert not starved
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S
    assert end.totals["fallback_lag"] + end.totals["fallback_idle"] > 0
    assert sum(row["python"] for row in rows) > 0, "Python decided nothing after it went on"


def test_a_killed_scheduler_is_gone_at_once(start: Start, record: Record) -> None:
    """The kernel takes over within two seconds, and pyland can be started again."""
    unchanged = Unchanged()
    scheduler = start()
    with Hogs(600, [0] * 4) as hogs:
        time.sleep(3)
        os.kill(scheduler.pid, signal.SIGKILL)
        disabled_s = until(lambda: kernel_state() == "disabled", 10)
        restored_s = until(lambda: bool(unchanged), 10)
        before = hogs.cpu_s()
        scheduler.wait()
        record(disabled_s=disabled_s, restored_s=restored_s)

        again = start()
        with undisturbed(again):
            time.sleep(3)
        after = hogs.cpu_s()
        shares = hogs.shares(early=True)
    ended_well(again.end())
    record(gap_s=shares.longest_gap_s)
    assert disabled_s is not None
    assert disabled_s < 2
    assert restored_s is not None, "vm.compact_unevictable_allowed is not what it was"
    assert all(after[pid] > before[pid] for pid in before)
    assert shares.longest_gap_s < 2 * GAP_S  # it went through two changes of the scheduler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(start: Start, record: Record, number: signal.Signals) -> None:
    """Under load: exit code 0 in about a second, everything put back, all totals printed."""
    unchanged = Unchanged()
    scheduler = start()
    with Hogs(600, [0] * 8):
        time.sleep(3)
        end = scheduler.end(number)
        state = kernel_state()
    record(seconds=end.seconds)
    ended_well(end)
    assert state == "disabled"
    assert unchanged, "vm.compact_unevictable_allowed is not what it was"
    assert end.seconds < 3  # promised: 1, where nothing is emulated
