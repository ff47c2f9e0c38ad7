# SPDX-License-Identifier: GPL-2.0-only
"""A composed policy and `rusty` on CPUs of two caches."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyland.stats.places import DEFAULT_PATH
from pyland.supervisor import control
from pyland.topology import read_topology
from tests.kernel.harness import Record, Start, ask, ended_well, swap, undisturbed
from tests.kernel.running import Running
from tests.support.statistics import asked
from tools.load.programs import Hogs, Sleeper

NR_CPUS = os.cpu_count() or 1
SECONDS = 2
FILE = Path(__file__).with_name("parts.py")
BUILD_CPUS = {*range(NR_CPUS // 2, NR_CPUS)}

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(read_topology().nr_llcs < 2, reason="needs a machine with two caches"),
]


def cpus_while(seconds: float, pids: Sequence[int]) -> set[int]:
    """The CPUs on which these tasks were put meanwhile."""
    with Running() as running:
        time.sleep(seconds)
    return set().union(*map(running.cpus_of, pids))


@pytest.mark.unproven
def test_parts_fail_and_are_swapped_alone(start: Start, record: Record) -> None:
    """A confined build beside a game: its policy raises, hangs, returns nonsense, and is swapped."""
    scheduler = start("--policy", f"{FILE}:Desk")
    with undisturbed(scheduler), Hogs(600, [5] * NR_CPUS + [0] * NR_CPUS) as hogs:
        build = hogs.pids[:NR_CPUS]
        time.sleep(1)
        used = {"rr": cpus_while(SECONDS, build)}
        with Sleeper(600) as sleeper:
            time.sleep(SECONDS)
            wakeups = [sleeper.wakeups(early=True)]
        replaced = []
        for policy in ("Broken", "Nonsense", "Hanging"):
            answer = swap(policy=f"{FILE}:{policy}", layer="build")
            assert answer["policy"] == policy.lower(), answer
            until_s = time.monotonic() + 60
            while ask("status")["options"]["part build"] != "deadline":
                assert time.monotonic() < until_s, scheduler.about()
                time.sleep(0.2)
            replaced.append(policy)
            with Sleeper(600) as sleeper:
                used[policy] = cpus_while(1, build)
                wakeups.append(sleeper.wakeups(early=True))
        refused = control.ask(
            {"command": "swap", "policy": "vtime", "layer": "built", "options": [], "folder": "/"}
        )
        before = hogs.cpu_s()
        pauses_us = [
            swap(policy=policy, layer="build")["pause_us"]
            for policy in ("vtime", "rr", "deadline", "bpfland") * 5
        ]
        used["swapped"] = cpus_while(1, build)
        used_s = {pid: now - before[pid] for pid, now in hogs.cpu_s().items()}
        state = ask("status")
        hogs.shares(early=True)
    output = scheduler.about()
    end = scheduler.end()
    record(
        used={name: sorted(cpus) for name, cpus in used.items()},
        p99_us=[one.p99_us for one in wakeups],
        pauses_us=pauses_us,
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert all(cpus <= BUILD_CPUS for cpus in used.values()), used
    assert used["rr"] == BUILD_CPUS
    assert state["policy"] == "desk"
    assert state["options"] == {
        "part game": "deadline",
        "part build": "bpfland",
        "part rest": "deadline",
    }
    for policy in replaced:
        assert f"part build: {policy.lower()} failed 10 times" in output
    assert "policy part build: broken: decide() raised RuntimeError: no idea" in output
    assert "has no part 'built'; it has: game, build, rest" in refused["error"]
    assert min(used_s.values()) > 0
    assert end.totals["rescued"] == 0


def test_rusty_balances_what_began_on_one_cache(start: Start, record: Record) -> None:
    """Two hogs a CPU, bound to one cache, are released: in four seconds each cache has its half.

    Where the caches are of two nodes, tasks leave their memory only for a larger difference.
    """
    far = read_topology().nr_nodes > 1
    limit, uneven = (0.17, 0.25) if far else (0.05, 0.15)
    scheduler = start("--policy", "rusty", "--policy-opt", "interval=1.5")
    with undisturbed(scheduler), Hogs(600, [0] * 2 * NR_CPUS) as hogs:
        for pid in hogs.pids:
            os.sched_setaffinity(pid, set(range(NR_CPUS // 2)))
        time.sleep(1)
        for pid in hogs.pids:
            os.sched_setaffinity(pid, set(range(NR_CPUS)))
        time.sleep(4)
        gauges = [own()]
        before = hogs.cpu_s()
        time.sleep(2 * SECONDS)
        used_s = {pid: now - before[pid] for pid, now in hogs.cpu_s().items()}
        gauges.append(own())
        hogs.shares(early=True)
    end = scheduler.end()
    mean_s = sum(used_s.values()) / len(used_s)
    record(
        shares=sorted(used / mean_s for used in used_s.values()),
        gauges=gauges,
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    for found in gauges:
        fair = found["load"] / 2
        assert abs(found["domain0_imbalance"]) < limit * fair, gauges
    assert all(abs(used / mean_s - 1) < uneven for used in used_s.values())
    assert end.totals.user_share > 0.9
    assert end.totals["rescued"] == 0


def own() -> dict[str, float]:
    """The gauges of the policy."""
    found = asked(DEFAULT_PATH)["policy_gauges"]
    return {name: value["policy_gauge"] for name, value in found.items()}
