# SPDX-License-Identifier: GPL-2.0-only
"""Minutes of mixed load (PYLAND_SOAK_MINUTES or SOAK_MINUTES, 20).

It runs only by its name: `pytest tests/kernel/soak.py`, or `make soak`.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

import pytest

from tests.kernel.harness import GAP_S, Record, Start, ended_well, grown, undisturbed
from tools.load.command import Command, Stress, available
from tools.load.programs import Sleeper
from tools.load.scheduler import enabled

STRESS = "--cpu 2 --vm 1 --vm-bytes 64M --fork 1 --switch 2 --aggressive"
MESSAGES = "hackbench -P -g 2 -l 20"


def survive(start: Start, record: Record, minutes: float) -> None:
    """Mixed load: pyland is always enabled, takes no page fault, does not grow or starve tasks."""
    seconds = minutes * 60
    scheduler = start()
    with ExitStack() as stack:
        stack.enter_context(undisturbed(scheduler))
        sleeper = stack.enter_context(Sleeper(seconds + 600))
        if available("stress-ng"):
            stress = stack.enter_context(Stress(STRESS, seconds + 600))
        else:
            stress = None
        time.sleep(5)
        faults, memory = scheduler.page_faults(), scheduler.memory_kib()
        rounds, until_s = 0, time.monotonic() + seconds
        while time.monotonic() < until_s:
            if available("hackbench"):
                with Command(*MESSAGES.split()) as messages:
                    assert messages.wait(300) == 0, messages.output
                rounds += 1
            else:
                time.sleep(1)
            assert enabled()
            assert scheduler.page_faults() == faults, "it faults"
            assert not grown(memory, scheduler.memory_kib()), "it grows"
            assert stress is None or stress.running, stress.output
        wakeups = sleeper.wakeups(early=True)
    end = scheduler.end()
    record(minutes=minutes, rounds=rounds, p50_us=wakeups.p50_us, p99_us=wakeups.p99_us)
    record(wakeup_max_s=wakeups.max_us / 1e6, totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["page_faults"] == 0
    assert wakeups.max_us / 1e6 < 2 * GAP_S


@pytest.mark.slow
def test_it_survives_a_long_mixed_load(start: Start, record: Record) -> None:
    """For PYLAND_SOAK_MINUTES or SOAK_MINUTES."""
    minutes = os.environ.get("PYLAND_SOAK_MINUTES") or os.environ.get("SOAK_MINUTES", "20")
    survive(start, record, float(minutes))
