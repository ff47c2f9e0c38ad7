# SPDX-License-Identifier: GPL-2.0-only
"""Weights that no CPU can give: `rusty` ends where paper and pencil do."""

from __future__ import annotations

import os
import time

import pytest

from pyland.stats.places import DEFAULT_PATH
from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.programs import Hogs

NR_CPUS = 8
NR_USUAL = 15
FEASIBLE = 100 * NR_USUAL / (NR_CPUS - 1)
"""One task has a CPU of its own; the others share seven, and it counts as what they have of one."""

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def test_an_infeasible_weight_has_one_cpu(shared: Shared, record: Record) -> None:
    """A hog of nice -20, whose weight is 87 times as high as that of each of 15 others.

    By weight it would have 6.8 of 8 CPUs. It can use one, and seven are left for 15 tasks: nearly
    half a CPU each. If its whole weight counted, its cache would have no other task.
    """
    with (
        shared.turn("rusty", "interval=0.4", "load_half_life=0.3") as turn,
        Hogs(600, [-20] + [0] * NR_USUAL) as hogs,
    ):
        time.sleep(2)
        before = {pid: cpu_ns(pid) for pid in hogs.pids}
        begin_s = time.monotonic()
        time.sleep(1.5)
        used_ns = {pid: cpu_ns(pid) - before[pid] for pid in hogs.pids}
        took_s = time.monotonic() - begin_s
        found = asked(DEFAULT_PATH)["policy_gauges"]
    gauges = {name: value["policy_gauge"] for name, value in found.items()}
    first, *usual = (used / took_s / 1e9 for used in used_ns.values())
    record(first=first, usual=sorted(usual), gauges=gauges, totals=dict(turn.totals.counts))
    assert first > 0.95
    assert gauges["feasible_weight"] == pytest.approx(FEASIBLE, rel=0.1)
    # Nodes may differ by 17 %: 5 tasks have three CPUs, and 10 have four, less what user space has.
    mean = sum(usual) / len(usual)
    assert mean > 0.4
    assert all(abs(each / mean - 1) < 0.35 for each in usual)
    assert turn.totals["rescued"] == 0
