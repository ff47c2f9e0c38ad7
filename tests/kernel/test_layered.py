# SPDX-License-Identifier: GPL-2.0-only
"""The layered policy on eight CPUs: confined, protected and preempting layers, and their view."""

from __future__ import annotations

import json
import os
import time

import pytest

from pyland.policies.layered.example import EXAMPLE
from pyland.policies.layered.numbers import by_layer
from pyland.stats.monitor import own_values
from pyland.stats.places import DEFAULT_PATH
from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record, swap
from tests.kernel.running import Running
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.programs import Hogs, Sleeper

NR_CPUS = 8
SECONDS = 1

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]

CONFIG = [
    {
        "name": "confined",
        "matches": [[{"NiceEquals": 5}]],
        "kind": {"Confined": {"util_range": [0.5, 0.9], "cpus_range": [2, 2], "slice_us": 5000}},
    },
    {
        "name": "safe",
        "matches": [[{"NiceEquals": 3}]],
        "kind": {"Grouped": {"util_range": [0.5, 0.9], "cpus_range": [2, 2], "protected": True}},
    },
    {
        "name": "fast",
        "matches": [[{"CommPrefix": "sleeper"}]],
        "kind": {"Open": {"preempt": True, "slice_us": 1000}},
    },
    {"name": "rest", "matches": [[]], "kind": {"Open": {}}},
]


def layers() -> dict[str, dict[str, float]]:
    """What `pyland layers` shows; as a process of its own it would run for a minute beside hogs."""
    return dict(by_layer(own_values(asked(DEFAULT_PATH)["policy_gauges"], "policy_gauge")))


def cpus(mask: float) -> set[int]:
    return {cpu for cpu in range(NR_CPUS) if int(mask) >> cpu & 1}


def test_layers_keep_their_promises(shared: Shared, record: Record) -> None:
    """Hogs of three layers and a sleeper that preempts; then a swap to the example's layers.

    It guards that a confined layer stays on its CPUs and uses them, that others stay off a
    protected layer's CPUs, that the shown numbers are right, and that a swap makes layers anew.
    """
    with shared.turn("layered", f"config={json.dumps(CONFIG)}") as turn:
        with Hogs(600, [5] * 4 + [3] * 2 + [0] * 6) as hogs, Sleeper(600) as sleeper:
            confined, safe, rest = hogs.pids[:4], hogs.pids[4:6], hogs.pids[6:]
            time.sleep(0.8)
            with Running() as running:
                before = {pid: cpu_ns(pid) for pid in hogs.pids}
                time.sleep(SECONDS)
                used_s = {pid: (cpu_ns(pid) - before[pid]) / 1e9 for pid in hogs.pids}
            seen = layers()
            wakeups = sleeper.wakeups(early=True)
        swap(policy="layered", options=[f"config={EXAMPLE}"])
        with Hogs(600, [5] * 4 + [0] * 6) as hogs:
            time.sleep(0.8)
            niced = hogs.pids[:4]
            with Running() as swapped:
                time.sleep(0.5)
            example = layers()
    totals = turn.totals
    where = {
        "confined": sorted(set().union(*map(running.cpus_of, confined))),
        "safe": sorted(set().union(*map(running.cpus_of, safe))),
        "rest": sorted(set().union(*map(running.cpus_of, rest))),
        "batch": sorted(set().union(*map(swapped.cpus_of, niced))),
    }
    record(
        used_s=used_s,
        where=where,
        seen=seen,
        example=example,
        p99_us=wakeups.p99_us,
        totals=dict(totals.counts),
    )
    own = {name: cpus(one["mask"]) for name, one in seen.items()}
    assert len(own["confined"]) == len(own["safe"]) == 2
    assert not own["confined"] & own["safe"]
    assert set(where["confined"]) == own["confined"]
    assert not {*where["confined"], *where["rest"]} & own["safe"], "a protected CPU was touched"
    # Two CPUs for four hogs, two for two, and four (and the confined layer's, never) for six.
    assert sum(used_s[pid] for pid in confined) > 1.5 * SECONDS
    assert sum(used_s[pid] for pid in safe) > 1.8 * SECONDS
    assert seen["confined"]["util"] > 1.4
    assert seen["confined"]["tasks"] == 4
    assert set(where["batch"]) <= cpus(example["batch"]["mask"])
    assert 1 <= example["batch"]["most"] <= NR_CPUS / 2
