# SPDX-License-Identifier: GPL-2.0-only
"""A slice ends when it is over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tests.kernel.turns import Shared
from tools.load.programs import Hogs

PLACING = Path(__file__).with_name("placing.py")
TICKS = f"{PLACING}:Ticks"


def test_a_slice_ends_between_two_ticks(start: Start, record: Record) -> None:
    """Six hogs with slices of a millisecond: at 250 Hz a tick comes only every 4 ms."""
    scheduler = start("--policy", "vtime", "--slice-us-min", "1000")
    with undisturbed(scheduler), Hogs(600, [0] * 6):
        time.sleep(scaled(10))
    end = scheduler.end()
    record(totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["sliced"] > 0


def test_slices_end_at_ticks_if_the_policy_says_so(shared: Shared, record: Record) -> None:
    """Six hogs, with `vtime` and with the same policy without exact slices."""
    sliced, switches = {}, {}
    for policy in ("vtime", TICKS):
        with shared.turn(policy) as turn, Hogs(600, [0] * 6):
            time.sleep(scaled(5))
        sliced[policy] = turn.totals["sliced"]
        switches[policy] = turn.totals["involuntary"]
    record(sliced=list(sliced.values()), switches=list(switches.values()))
    assert sliced[TICKS] < sliced["vtime"] / 5
    assert switches[TICKS] > 0


@pytest.mark.counted
def test_a_decision_grants_several_slices_if_the_policy_says_so(
    shared: Shared, record: Record
) -> None:
    """Six hogs: between two slices of a decision each waits for its turn, as between decisions."""
    asked, shares = {}, {}
    for policy in ("OneSlice", "FourSlices"):
        with shared.turn(f"{PLACING}:{policy}") as turn, Hogs(600, [0] * 6) as hogs:
            time.sleep(scaled(5))
            used_s = list(hogs.cpu_s().values())
        # What waits for a first slice, a next slice of a decision, or for a decision.
        turns = turn.totals["forwarded"] + turn.totals["continued"]
        asked[policy] = turn.totals["forwarded"] / turns
        shares[policy] = min(used_s) / max(used_s)
    record(asked=asked, shares=shares)
    assert asked["OneSlice"] > 0.8
    assert asked["FourSlices"] < 0.5
    assert min(shares.values()) > 0.7
