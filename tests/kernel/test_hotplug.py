# SPDX-License-Identifier: GPL-2.0-only
"""CPUs go and come, and pyland schedules on those that there are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kernel.harness import Record, Start, ended_well, scaled
from tools.load.programs import Hogs
from tools.load.scheduler import enabled, until

CPU1_ONLINE = Path("/sys/devices/system/cpu/cpu1/online")


@pytest.mark.skipif(not CPU1_ONLINE.exists(), reason="no CPU can be taken offline")
def test_a_cpu_goes_and_comes_back(start: Start, record: Record) -> None:
    """The kernel asks for a restart each time; the process lives on and schedules again."""
    scheduler = start()
    took = []

    def changed(online: str) -> None:
        starts = scheduler.starts
        CPU1_ONLINE.write_text(online, encoding="ascii")
        # Where BPF follows the change itself, pyland is not loaded again: wait a moment to see.
        leaves = until(lambda: not enabled() or scheduler.starts > starts, 3) is not None
        took.append(scheduler.wait_enabled(starts + leaves))

    # Nice, because each start under emulation takes ten seconds of a CPU.
    with Hogs(900, [19] * 3) as hogs:
        try:
            for _ in range(round(scaled(5, at_least=2))):
                changed("0")
                changed("1")
        finally:
            CPU1_ONLINE.write_text("1", encoding="ascii")
        ticks = hogs.cpu_s()
        time.sleep(5)
        after = hogs.cpu_s()
    end = scheduler.end()
    record(restart_s=took, totals=dict(end.totals.counts))
    ended_well(end)
    assert all(after[pid] > ticks[pid] for pid in ticks)
