# SPDX-License-Identifier: GPL-2.0-only
"""While a CPU belongs to a real-time task, the others wait for that task and for nothing else."""

from __future__ import annotations

import os

import pytest

from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tools.load.programs import Hogs, Periods, RealTime, figures

# A machine that is emulated does not run for a while now and then: that misses periods, too.
MISSED_MAX = 0.25


def _server(seconds: float, **options: int) -> Periods:
    """A driver with clients, beside a hog for each CPU."""
    with Hogs(600, [0] * (os.cpu_count() or 1)), RealTime(seconds, **options) as server:
        return server.periods()


def test_what_a_real_time_task_wakes_does_not_wait_for_a_slice(
    start: Start, record: Record
) -> None:
    """On the CPU of its driver a client has to wait for that, and not for the hog it interrupted.

    When the interrupted hog went on with its slice, half of the periods were missed.
    """
    seconds, one = scaled(12), {"clients": 1, "client_us": 100, "period_us": 5000, "cpu": 0}
    default = _server(seconds, **one)
    scheduler = start()
    with undisturbed(scheduler):
        pinned = _server(seconds, **one)
        free = _server(seconds)
    end = scheduler.end()
    record(default=figures(default), pinned=figures(pinned), free=figures(free))
    ended_well(end)
    assert pinned.missed <= default.missed + MISSED_MAX * pinned.periods
    assert free.missed <= default.missed + MISSED_MAX * free.periods


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU here")
@pytest.mark.compat
def test_a_task_that_is_interrupted_goes_on_elsewhere(start: Start, record: Record) -> None:
    """A real-time task has one CPU nearly alone: the hogs share the others, and Python decides.

    When the interrupted one waited on its CPU, it had a tenth of that, and a hog elsewhere all.
    """
    seconds, busy = scaled(16, at_least=6), {"clients": 0, "period_us": 1_000_000, "cpu": 0}
    hogs = [0] * (os.cpu_count() or 1)
    scheduler = start()
    with (
        undisturbed(scheduler),
        RealTime(600, driver_us=900_000, **busy) as driver,
        Hogs(seconds, hogs) as running,
    ):
        shares = running.shares()
        periods = driver.periods(early=True)
    end = scheduler.end()
    record(
        shares=[hog.cpu_ns / shares.window_ns for hog in shares.hogs],
        gap_s=shares.longest_gap_s,
        driver=figures(periods),
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert shares.uneven < 0.4
    # User space moves on as well: it would wait for 900 ms, and the tasks for 20 ms each.
    assert end.totals.user_share > 0.5
