# SPDX-License-Identifier: GPL-2.0-only
"""A policy that answers nonsense, nothing or never costs the machine nothing but its order."""

from __future__ import annotations

import sys

import pytest

from tests.kernel.harness import GAP_S, Record, Start, scaled, undisturbed
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import kernel_state


@pytest.mark.parametrize("kind", ["garbage", "forget", "loop"])
def test_it_freezes_nobody(start: Start, record: Record, kind: str) -> None:
    """Every task gets its turns, and pyland ends when asked to, with exit code 0."""
    scheduler = start(program=(sys.executable, "-m", "tests.kernel.hostile", kind))
    seconds = scaled(20)
    with undisturbed(scheduler), Hogs(seconds, [0] * 6) as hogs, Sleeper(seconds) as sleeper:
        wakeups, shares = sleeper.wakeups(), hogs.shares()
    end = scheduler.end()
    totals = end.totals
    record(gap_s=shares.longest_gap_s, p99_us=wakeups.p99_us, totals=dict(totals.counts))
    assert end.status == 0
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S
    if kind == "garbage":
        assert totals["bad_decisions"] > 0
        assert totals["late"] > 0
    else:
        assert totals["fallback_lag"] > 0


def test_a_broken_ring_ends_it_with_a_reason(start: Start) -> None:
    """BPF says so instead of walking it for ever; the default scheduler is back."""
    scheduler = start(program=(sys.executable, "-m", "tests.kernel.hostile", "corrupt"))
    with Hogs(600, [0] * 6):
        assert scheduler.wait(60) == 1, scheduler.about()
    assert "the ring of decisions is broken" in scheduler.output
    assert kernel_state() == "disabled"
