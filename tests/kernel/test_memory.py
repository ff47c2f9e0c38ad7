# SPDX-License-Identifier: GPL-2.0-only
"""The process that dispatches does not fault and does not grow."""

from __future__ import annotations

import time

import pytest

from tests.kernel.harness import Record, Start, ended_well, grown, scaled, undisturbed
from tools.load.programs import Hogs, Sleeper, Spawner

pytestmark = [pytest.mark.counted, pytest.mark.long]


def test_a_steady_load_costs_no_memory(start: Start, record: Record) -> None:
    """No page fault under load, and none at any time from attach to the end."""
    scheduler = start()
    seconds = scaled(40)
    with undisturbed(scheduler), Hogs(600, [0] * 6), Sleeper(600), Spawner(seconds + 5, 50):
        time.sleep(5)
        faults, memory = scheduler.page_faults(), scheduler.memory_kib()
        time.sleep(seconds)
        faults_after, memory_after = scheduler.page_faults(), scheduler.memory_kib()
    end = scheduler.end()
    record(faults=faults_after - faults, memory=memory, memory_after=memory_after)
    record(totals=dict(end.totals.counts))
    ended_well(end)
    assert faults_after == faults
    assert not grown(memory, memory_after)
    assert memory["VmLck"] > 0
    assert end.totals["page_faults"] == 0
