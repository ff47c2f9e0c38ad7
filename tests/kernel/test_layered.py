# SPDX-License-Identifier: GPL-2.0-only
"""The layered policy on eight CPUs: confined, protected and preempting layers, and their view."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from pyland.policies.layered.example import EXAMPLE
from tests.kernel.harness import Record, Start, ended_well, swap, undisturbed
from tests.kernel.running import Running
from tools.load import scheduler as system
from tools.load.programs import Hogs, Sleeper

NR_CPUS = 8
SECONDS = 2

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
    """What `pyland layers` shows."""
    shown = subprocess.run(
        [system.PYLAND, "layers", "--once", "--json", "--interval", "0.3"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    return {one.pop("layer"): one for one in json.loads(shown)["layers"]}


def cpus(mask: float) -> set[int]:
    return {cpu for cpu in range(NR_CPUS) if int(mask) >> cpu & 1}


def test_layers_keep_their_promises(start: Start, record: Record) -> None:
    """Hogs of three layers and a sleeper that preempts; then a swap to the example's layers."""
    scheduler = start("--policy", "layered", "--policy-opt", f"config={json.dumps(CONFIG)}")
    with undisturbed(scheduler):
        with Hogs(600, [5] * 4 + [3] * 2 + [0] * 6) as hogs, Sleeper(600) as sleeper:
            confined, safe, rest = hogs.pids[:4], hogs.pids[4:6], hogs.pids[6:]
            time.sleep(1.5)
            with Running() as running:
                before = hogs.cpu_s()
                time.sleep(SECONDS)
                used_s = {pid: now - before[pid] for pid, now in hogs.cpu_s().items()}
            seen = layers()
            wakeups = sleeper.wakeups(early=True)
            hogs.shares(early=True)
        swap(policy="layered", options=[f"config={EXAMPLE}"])
        with Hogs(600, [5] * 4 + [0] * 6) as hogs:
            time.sleep(1.5)
            niced = hogs.pids[:4]
            with Running() as swapped:
                time.sleep(1)
            example = layers()
            hogs.shares(early=True)
    end = scheduler.end()
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
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    own = {name: cpus(one["mask"]) for name, one in seen.items()}
    assert len(own["confined"]) == len(own["safe"]) == 2
    assert not own["confined"] & own["safe"]
    assert set(where["confined"]) == own["confined"]
    assert not {*where["confined"], *where["rest"]} & own["safe"], "a protected CPU was touched"
    # Two CPUs for four hogs, two for two, and four (and the confined layer's, never) for six.
    assert sum(used_s[pid] for pid in confined) > 1.6 * SECONDS
    assert sum(used_s[pid] for pid in safe) > 1.8 * SECONDS
    assert seen["confined"]["util"] > 1.5
    assert seen["confined"]["tasks"] == 4
    assert set(where["batch"]) <= cpus(example["batch"]["mask"])
    assert 1 <= example["batch"]["most"] <= NR_CPUS / 2
