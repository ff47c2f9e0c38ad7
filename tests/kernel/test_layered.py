# SPDX-License-Identifier: GPL-2.0-only
"""The layered policy on eight CPUs: confined, protected and preempting layers, and their view."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyland.policies.layered.example import EXAMPLE
from pyland.policies.layered.numbers import by_layer
from pyland.stats.monitor import own_values
from pyland.stats.places import DEFAULT_PATH
from pyland.supervisor import control
from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record, ask, swap
from tests.kernel.running import Running
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.programs import Game, Hogs, Sleeper
from tools.load.scheduler import until

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


POLICIES = Path(__file__).with_name("parts.py")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "composed.md"


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


def test_layers_have_policies_of_their_own(shared: Shared, record: Record) -> None:
    """The page's game, build and desktop; the policy of the build fails, and is swapped, alone.

    It guards that the tasks of a confined layer stay on its CPUs whatever its policy is, that
    `deadline` takes over from one that fails in this layer alone, and that the game plays on.
    """
    (config,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    used: dict[str, set[int]] = {}
    frames = {}

    def look(name: str, build: Sequence[int], seconds: float = 1) -> None:
        with Game(seconds, helpers=3, main_us=1000, helper_us=1000) as game, Running() as running:
            frames[name] = game.frames()
        used[name] = set().union(*map(running.cpus_of, build))

    with shared.turn("layered", f"config={config}") as turn, Hogs(600, [5] * 6 + [0] * 4) as hogs:
        build = hogs.pids[:6]
        time.sleep(0.8)
        look("rr", build)
        seen = layers()
        before = ask("status")["options"]
        swap(policy=f"{POLICIES}:Broken", layer="build")
        gone_s = until(lambda: ask("status")["options"]["part build"] == "deadline", 60, 0.1)
        assert gone_s is not None, turn.output
        look("replaced", build, 0.5)
        pauses_us = [
            swap(policy=policy, layer="build")["pause_us"]
            for policy in ("vtime", "rr", "deadline", "vtime")
        ]
        began = {pid: cpu_ns(pid) for pid in hogs.pids}
        look("vtime", build)
        used_s = {pid: (cpu_ns(pid) - began[pid]) / 1e9 for pid in hogs.pids}
        after = ask("status")["options"]
        refused = control.ask(
            {"command": "swap", "policy": "rr", "layer": "desktop", "options": [], "folder": "/"}
        )
    output = turn.output
    record(
        used={name: sorted(cpus) for name, cpus in used.items()},
        low1_fps={name: one.low1_fps for name, one in frames.items()},
        helper_p99_us={name: one.helper_p99_us for name, one in frames.items()},
        seen=seen,
        pauses_us=pauses_us,
        used_s=used_s,
        totals=dict(turn.totals.counts),
    )
    confined = cpus(seen["build"]["mask"])
    assert len(confined) == NR_CPUS / 2
    assert used == {"rr": confined, "replaced": confined, "vtime": confined}
    assert [one["part game"] for one in (before, after)] == ["deadline", "deadline"]
    assert [one["part build"] for one in (before, after)] == ["rr", "vtime"]
    assert "part build: broken failed 10 times" in output
    assert "policy part build: broken: decide() raised RuntimeError: no idea" in output
    assert "'desktop' names no policy in its file; those that do: game, build" in refused["error"]
    assert min(used_s.values()) > 0
    assert turn.totals["rescued"] == 0
