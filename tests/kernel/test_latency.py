# SPDX-License-Identifier: GPL-2.0-only
"""An interactive task soon gets a CPU although all CPUs are busy."""

from __future__ import annotations

from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tools.load.programs import Hogs, Sleeper, Wakeups, figures


def _among_hogs(seconds: float) -> Wakeups:
    with Hogs(seconds + 10, [0] * 8), Sleeper(seconds) as sleeper:
        return sleeper.wakeups()


def test_a_sleeper_wakes_up_among_hogs(start: Start, record: Record) -> None:
    """Measured under the default scheduler and under pyland, in the same boot.

    Under emulation the figures only compare, so the test asserts only that no task starved.
    """
    seconds = scaled(40)
    record(default=figures(_among_hogs(seconds)))
    scheduler = start()
    with undisturbed(scheduler):
        wakeups = _among_hogs(seconds)
    end = scheduler.end()
    record(pyland=figures(wakeups), totals=dict(end.totals.counts))
    ended_well(end)
    assert wakeups.p99_us < 1_000_000
    assert wakeups.p50_us < 100_000
    # The sleeper also shares its own CPU time with the hogs, so it has fewer periods.
    assert wakeups.periods > 0.05 * wakeups.possible_periods
