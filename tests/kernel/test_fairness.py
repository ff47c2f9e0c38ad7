# SPDX-License-Identifier: GPL-2.0-only
"""CPU time is shared by weight."""

from __future__ import annotations

from tests.kernel.harness import (
    GAP_S,
    WEIGHT_NICE_0,
    WEIGHT_NICE_5,
    Record,
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
