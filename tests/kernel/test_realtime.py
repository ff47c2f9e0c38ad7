# SPDX-License-Identifier: GPL-2.0-only
"""While a real-time task has a CPU, other tasks wait for that task only."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench import realtime
from tests.kernel.canary import taken_by_real_time
from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tools.load.programs import Hogs, RealTime, figures

HOSTILE = Path(__file__).with_name("hostile.py")


@pytest.mark.counted
@pytest.mark.long
def test_what_a_real_time_task_wakes_does_not_wait_for_a_slice(
    start: Start, record: Record
) -> None:
    """A client on the CPU of its driver waits for the driver, and not for the interrupted hog.

    With slices this long the hog has tens of milliseconds left.
    """
    scheduler = start("--slice-us", "100000", "--slice-us-min", "50000")
    with undisturbed(scheduler), Hogs(600, [0] * (os.cpu_count() or 1)):
        one = {"clients": 1, "client_us": 100, "period_us": 100_000}
        with RealTime(scaled(12, at_least=5), **one, cpu=0) as server:
            pinned = server.periods()
        with RealTime(scaled(12, at_least=5), **one) as server:
            free = server.periods()
    end = scheduler.end()
    record(pinned=figures(pinned), free=figures(free), totals=dict(end.totals.counts))
    ended_well(end)
    assert pinned.p50_us < 20_000
    assert free.p50_us < 20_000


@pytest.mark.counted
@pytest.mark.long
def test_no_period_is_missed_that_the_default_scheduler_does_not_miss(
    start: Start, record: Record
) -> None:
    """The rows of bench.realtime, first with the default scheduler: both in one boot."""
    default = realtime.measure(scaled(20, at_least=5))
    scheduler = start()
    with undisturbed(scheduler):
        pyland = realtime.measure(scaled(20, at_least=5))
    end = scheduler.end()
    record(default=default, pyland=pyland, totals=dict(end.totals.counts))
    ended_well(end)
    for row, figures_by_default in default.items():
        assert pyland[row]["missed"] <= figures_by_default["missed"], row
        assert pyland[row]["p99"] <= 1.2 * figures_by_default["p99"], row


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU here")
@pytest.mark.compat
@pytest.mark.counted
@pytest.mark.long
def test_a_task_that_is_interrupted_goes_on_elsewhere(start: Start, record: Record) -> None:
    """A real-time task uses nearly all of one CPU: the hogs share the others, and Python decides.

    A hog that waited on that CPU would get a tenth of it, and another hog all of its own CPU.
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
    # User space changes its CPU as well: it would wait for 900 ms, and each task for 20 ms.
    assert end.totals.user_share > 0.5


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU here")
@pytest.mark.counted
@pytest.mark.long
def test_what_waits_behind_a_real_time_task_is_rescued(start: Start, record: Record) -> None:
    """The policy sends all hogs to a CPU that a real-time task has."""
    scheduler = start("--policy", f"{HOSTILE}:OnOneCpu", "--policy-opt", "cpu=1")
    with undisturbed(scheduler), Hogs(600, [0] * 3) as hogs:
        with taken_by_real_time(1):
            # Not longer: the kernel's work on that CPU waits too, and its watchdog would notice.
            time.sleep(8)
        shares = hogs.shares(early=True)
    end = scheduler.end()
    record(gap_s=shares.longest_gap_s, rescued=end.totals["rescued"])
    ended_well(end)
    assert end.totals["rescued"] > 0
    assert shares.longest_gap_s < 6  # two on a real machine
