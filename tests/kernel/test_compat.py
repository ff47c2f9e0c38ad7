# SPDX-License-Identifier: GPL-2.0-only
"""A short set of tests for every kernel that pyland supports."""

from __future__ import annotations

import re
import time

import pytest

from tests.kernel.harness import (
    GAP_S,
    Record,
    Start,
    Unchanged,
    ended_well,
    python_decided,
    undisturbed,
)
from tools.load.programs import Hogs, Sleeper

pytestmark = pytest.mark.compat

VERIFIER_STEPS = 60_000
"""The most for one program. The kernel refuses more than a million; each start waits for them."""


def test_it_schedules(start: Start, record: Record) -> None:
    """Hogs share the CPUs, a sleeper wakes up among them, and it ends when asked to."""
    unchanged = Unchanged()
    scheduler = start("--verbose")
    steps = [
        int(nr) for nr in re.findall(r"^processed (\d+) insns", scheduler.output, re.MULTILINE)
    ]
    with undisturbed(scheduler), Hogs(5, [0] * 8) as hogs, Sleeper(5) as sleeper:
        wakeups, shares = sleeper.wakeups(), hogs.shares()
    end = scheduler.end()
    record(uneven=shares.uneven, p99_us=wakeups.p99_us, totals=dict(end.totals.counts))
    record(verifier_steps=sum(steps), most_verifier_steps=max(steps))
    ended_well(end)
    python_decided(end.totals)
    assert shares.uneven < 0.25  # of five seconds
    assert shares.longest_gap_s < GAP_S
    assert wakeups.p99_us < 1_000_000
    assert max(steps) < VERIFIER_STEPS
    assert unchanged


def test_it_survives_being_stopped(start: Start, record: Record) -> None:
    """Every task gets its turns while Python does not run."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 6) as hogs, Sleeper(600) as sleeper:
        time.sleep(1)
        with scheduler.stopped():
            time.sleep(7)
        time.sleep(1)
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    end = scheduler.end()
    record(gap_s=shares.longest_gap_s, wakeup_max_s=wakeups.max_us / 1e6)
    record(totals=dict(end.totals.counts))
    ended_well(end)
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S
