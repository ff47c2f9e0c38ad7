# SPDX-License-Identifier: GPL-2.0-only
"""A slice ends when it is over."""

from __future__ import annotations

import time

from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tools.load.programs import Hogs


def test_a_slice_ends_between_two_ticks(start: Start, record: Record) -> None:
    """Six hogs with slices of a millisecond: at 250 Hz a tick comes only every 4 ms."""
    scheduler = start("--policy", "vtime", "--slice-us-min", "1000")
    with undisturbed(scheduler), Hogs(600, [0] * 6):
        time.sleep(scaled(10))
    end = scheduler.end()
    record(totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["sliced"] > 0
