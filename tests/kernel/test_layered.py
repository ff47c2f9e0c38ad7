# SPDX-License-Identifier: GPL-2.0-only
"""The layered policy on eight CPUs: confined, protected and preempting layers, and their view."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from pyland.policies.layered.example import EXAMPLE
from pyland.supervisor import control
from tests.kernel.harness import Record, Start, ask, ended_well, swap, undisturbed
from tests.kernel.running import Running
from tools.load import scheduler as system
from tools.load.programs import Game, Hogs, Sleeper

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


POLICIES = Path(__file__).with_name("parts.py")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "composed.md"


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


@pytest.mark.unproven
def test_layers_have_policies_of_their_own(start: Start, record: Record) -> None:
    """The page's game, build and desktop: a build whose policy fails and is swapped, alone."""
    (config,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    scheduler = start("--policy", "layered", "--policy-opt", f"config={config}")
    used: dict[str, set[int]] = {}
    frames = {}
    with undisturbed(scheduler), Hogs(600, [5] * 6 + [0] * 4) as hogs:
        build = hogs.pids[:6]

        def look(name: str) -> dict[str, dict[str, float]]:
            with Game(2, helpers=3, main_us=1000, helper_us=1000) as game, Running() as running:
                frames[name] = game.frames()
            used[name] = set().union(*map(running.cpus_of, build))
            return layers()

        time.sleep(1.5)
        seen = look("rr")
        names = [ask("status")["options"]]
        swap(policy=f"{POLICIES}:Broken", layer="build")
        until_s = time.monotonic() + 60
        while ask("status")["options"]["part build"] != "deadline":
            assert time.monotonic() < until_s, scheduler.about()
            time.sleep(0.2)
        look("failed")
        pauses_us = [
            swap(policy=policy, layer="build")["pause_us"]
            for policy in ("vtime", "rr", "deadline", "vtime")
        ]
        before = hogs.cpu_s()
        look("swapped")
        used_s = {pid: now - before[pid] for pid, now in hogs.cpu_s().items()}
        names.append(ask("status")["options"])
        refused = control.ask(
            {"command": "swap", "policy": "rr", "layer": "desktop", "options": [], "folder": "/"}
        )
        hogs.shares(early=True)
    output = scheduler.about()
    end = scheduler.end()
    record(
        used={name: sorted(cpus) for name, cpus in used.items()},
        low1_fps={name: one.low1_fps for name, one in frames.items()},
        helper_p99_us={name: one.helper_p99_us for name, one in frames.items()},
        seen=seen,
        pauses_us=pauses_us,
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert len(cpus(seen["build"]["mask"])) == 4
    assert used["rr"] == cpus(seen["build"]["mask"])
    assert all(len(found) <= 4 for found in used.values()), used
    assert [one["part game"] for one in names] == ["deadline", "deadline"]
    assert [one["part build"] for one in names] == ["rr", "vtime"]
    assert "part build: broken failed 10 times" in output
    assert "policy part build: broken: decide() raised RuntimeError: no idea" in output
    assert "'desktop' names no policy in its file; those that do: game, build" in refused["error"]
    assert min(used_s.values()) > 0
    assert end.totals["rescued"] == 0
