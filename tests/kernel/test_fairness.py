# SPDX-License-Identifier: GPL-2.0-only
"""CPU time is shared by weight."""

from __future__ import annotations

import os
import time

import pytest

from tests.kernel.harness import (
    GAP_S,
    WEIGHT_NICE_0,
    WEIGHT_NICE_5,
    Record,
    ask,
    python_decided,
    scaled,
)
from tests.kernel.turns import Shared
from tools.load.programs import Hogs


def test_equal_hogs_get_equal_shares(shared: Shared, record: Record) -> None:
    """Eight hogs on fewer CPUs: Python orders them, and none gets more than another."""
    with shared.turn("deadline") as turn, Hogs(scaled(60), [0] * 8) as hogs:
        shares = hogs.shares()
    record(uneven=shares.uneven, gap_s=shares.longest_gap_s, totals=dict(turn.totals.counts))
    python_decided(turn.totals)
    assert shares.uneven < 0.10
    assert shares.longest_gap_s < GAP_S


def test_nice_hogs_get_the_share_of_their_weight(shared: Shared, record: Record) -> None:
    """Nice 5 gets a third of what nice 0 gets, as with the kernel's own scheduler."""
    with shared.turn("deadline") as turn, Hogs(scaled(60), [0] * 4 + [5] * 4) as hogs:
        shares = hogs.shares()
    ratio = shares.mean_ns(0) / shares.mean_ns(5)
    record(ratio=ratio, gap_s=shares.longest_gap_s, totals=dict(turn.totals.counts))
    python_decided(turn.totals)
    wanted = WEIGHT_NICE_0 / WEIGHT_NICE_5
    assert wanted * 0.85 < ratio < wanted * 1.15
    assert shares.longest_gap_s < GAP_S


@pytest.mark.counted
@pytest.mark.long
@pytest.mark.parametrize("floating", [1, 2])
def test_python_decides_in_every_second_beside_pinned_tasks(
    floating: int, shared: Shared, record: Record
) -> None:
    """A hog pinned to each CPU, and one or two for each that float: all have the same share.

    Pinned tasks wait longest, and cost a policy its trust once; then nothing was decided any more.
    """
    nr_cpus = os.cpu_count() or 1
    decided = []
    with shared.turn("deadline") as turn, Hogs(600, [0] * nr_cpus * (1 + floating)) as hogs:
        for cpu, pid in enumerate(hogs.pids[:nr_cpus]):
            os.sched_setaffinity(pid, {cpu})
        time.sleep(1)
        for _ in range(round(scaled(60))):
            before = ask("status")["counters"]
            time.sleep(1)
            counters = ask("status")["counters"]
            asked = counters["forwarded"] - before["forwarded"]
            decided.append((counters["user_dispatched"] - before["user_dispatched"]) / asked)
        shares = hogs.shares(early=True)
    parts = {hog.pid: hog.cpu_ns / shares.mean_ns() for hog in shares.hogs}
    pinned = [parts[pid] for pid in hogs.pids[:nr_cpus]]
    free = [parts[pid] for pid in hogs.pids[nr_cpus:]]
    record(decided=min(decided), pinned=pinned, free=free, totals=dict(turn.totals.counts))
    assert min(decided) >= 0.95
    assert all(abs(part - 1) < 0.1 for part in (*pinned, *free))
