# SPDX-License-Identifier: GPL-2.0-only
"""Names and cgroups change all the time, and `layered` follows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pyland.policies.layered.numbers import by_layer
from pyland.stats.monitor import own_values
from pyland.stats.places import DEFAULT_PATH
from tests.kernel.changing import KINDS, NR_TASKS
from tests.kernel.groups import tree
from tests.kernel.harness import Record, ask, grown, scaled
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.scheduler import until

PROGRAM = Path(__file__).with_name("changing.py")


def layers(top: str) -> str:
    """Tasks called left-something, and those of the cgroup `left`, have one CPU for themselves."""
    return json.dumps(
        [
            {
                "name": "left",
                "matches": [[{"CommPrefix": "left"}], [{"CgroupPrefix": f"{top}/left/"}]],
                "kind": {"Confined": {"util_range": [0.5, 0.9], "cpus_range": [1, 1]}},
            },
            {"name": "rest", "matches": [[]], "kind": {"Open": {}}},
        ]
    )


def left_mask() -> int:
    """The CPUs of the layer."""
    gauges = own_values(asked(DEFAULT_PATH)["policy_gauges"], "policy_gauge")
    return int(dict(by_layer(gauges))["left"]["mask"])


@pytest.mark.counted
@pytest.mark.long
def test_a_thousand_changes_a_second_are_followed(shared: Shared, record: Record) -> None:
    """Four tasks change name and cgroup; cgroups come and go: nothing is missed for over a second.

    It guards matching by what a task has become, and that neither the process that decides nor
    BPF's table of groups grows by names and groups of the past.
    """
    if (os.cpu_count() or 1) < 2:
        pytest.skip("it takes two CPUs")
    seconds = 1 + scaled(4, at_least=0.5)
    with tree() as top:
        left, right = top.child("left"), top.child("right")
        config = f"config={layers(top.folder.name)}"
        with shared.turn("layered", config) as turn:
            before = ask("status")["counters"]["groups"]
            command = [sys.executable, str(PROGRAM), str(seconds), str(top.folder)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
                time.sleep(1.5 * seconds)
                memory, mask = turn.scheduler.memory_kib(), left_mask()
                time.sleep((len(KINDS) - 2) * seconds)
                memory_after, mask_after = turn.scheduler.memory_kib(), left_mask()
                output, _ = program.communicate(timeout=120)
            gone = until(lambda: ask("status")["counters"]["groups"] <= before + 4, 15)
            groups = ask("status")["counters"]["groups"]
        told = [json.loads(line) for line in output.splitlines()]
        left.remove()
        right.remove()
    assert len(told) == NR_TASKS
    ran_on: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS[1::2]}
    for one in told:
        for kind, counts in one["ran_on"].items():
            ran_on[kind].update({int(cpu): count for cpu, count in counts.items()})
    # At each time half of the tasks change.
    rates = {
        what: sum(one[what] for one in told) / (len(KINDS) * seconds) for what in ("names", "moves")
    }
    record(
        rates=rates,
        ran_on={kind: dict(counts) for kind, counts in ran_on.items()},
        mask=mask,
        memory=memory,
        memory_after=memory_after,
        groups=(before, groups),
        totals=dict(turn.totals.counts),
    )
    assert rates["names"] > 1000
    assert rates["moves"] > 200
    assert mask == mask_after
    assert mask.bit_count() == 1
    for kind in ("named", "moved"):
        assert ran_on[kind]
        assert all(mask >> cpu & 1 for cpu in ran_on[kind]), kind
    assert any(not mask >> cpu & 1 for cpu in ran_on["free"])
    assert not grown(memory, memory_after)
    assert gone is not None, f"{before} groups before, {groups} left"
    assert turn.totals["rescued"] == 0
