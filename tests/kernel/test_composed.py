# SPDX-License-Identifier: GPL-2.0-only
"""A composed policy and `rusty` on CPUs of two caches."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from pyland.stats.places import DEFAULT_PATH
from pyland.supervisor import control
from pyland.topology import read_topology
from tests.kernel.groups import cpu_ns
from tests.kernel.harness import (
    GAP_S,
    WEIGHT_NICE_0,
    WEIGHT_NICE_5,
    Record,
    ask,
    swap,
)
from tests.kernel.running import Running
from tests.kernel.turns import Shared
from tests.support.statistics import asked
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import until

NR_CPUS = os.cpu_count() or 1
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


def test_parts_keep_to_their_cpus_and_are_swapped_alone(shared: Shared, record: Record) -> None:
    """A confined build beside other tasks: its policy raises, returns nonsense, and is swapped.

    It guards that a part's tasks run on its CPUs only, whichever policy decides, that `deadline`
    takes over from one that fails in this part alone, and that the others stay as they are.
    """
    used: dict[str, set[int]] = {"rr": set()}
    with shared.turn(f"{FILE}:Desk") as turn, Hogs(600, [5] * NR_CPUS + [0] * NR_CPUS) as hogs:
        build = hogs.pids[:NR_CPUS]
        time.sleep(0.3)  # they began on CPUs that idled
        for _ in range(8):
            # A task that has a CPU all the time is put there once only.
            used["rr"] |= cpus_while(0.4, build)
            if used["rr"] == BUILD_CPUS:
                break
        for policy in ("Broken", "Nonsense"):
            used[policy] = replaced(policy, build)
        swap(policy="vtime", layer="build")
        used["vtime"] = cpus_while(0.4, build)
        state = ask("status")
    totals = turn.totals
    output = turn.scheduler.output
    record(used={name: sorted(cpus) for name, cpus in used.items()}, totals=dict(totals.counts))
    assert used["rr"] == BUILD_CPUS
    assert all(cpus and cpus <= BUILD_CPUS for cpus in used.values()), used
    assert state["policy"] == "desk"
    parts = {"game": "deadline", "build": "vtime", "rest": "deadline"}
    assert state["options"] == {f"part {name}": policy for name, policy in parts.items()}
    for failed in ("broken", "nonsense"):
        assert f"part build: {failed} failed 10 times" in output
    assert "policy part build: broken: decide() raised RuntimeError: no idea" in output
    assert totals["rescued"] == 0


def replaced(policy: str, build: Sequence[int]) -> set[int]:
    """Swaps the build's policy to one of parts.py that fails; its tasks' CPUs under the next."""
    answer = swap(policy=f"{FILE}:{policy}", layer="build")
    assert answer["policy"] == policy.lower(), answer
    gone_s = until(lambda: ask("status")["options"]["part build"] == "deadline", 60, 0.1)
    assert gone_s is not None, f"{policy} is not replaced"
    # Tasks that nothing was decided about ran where the fallback put them.
    time.sleep(0.2)
    return cpus_while(0.3, build)


def test_parts_share_their_cpus_by_weight(shared: Shared, record: Record) -> None:
    """A build of nice 5 on half of the CPUs beside as many hogs of nice 0, which may use all.

    It guards that neither policy's keys go before the other's for long: those of the build are
    times of arrival, and the others virtual times.
    """
    halves = ({*range(NR_CPUS)} - BUILD_CPUS, BUILD_CPUS)
    with (
        shared.turn(f"{FILE}:Desk") as turn,
        Hogs(600, [5] * NR_CPUS + [0] * NR_CPUS) as hogs,
    ):
        # While no CPU idles, tasks stay at the cache where they began.
        for pid, half in zip(hogs.pids[NR_CPUS:], itertools.cycle(halves)):
            os.sched_setaffinity(pid, half)
        time.sleep(0.3)
        for pid in hogs.pids[NR_CPUS:]:
            os.sched_setaffinity(pid, range(NR_CPUS))
        time.sleep(1)
        before = {pid: cpu_ns(pid) for pid in hogs.pids}
        time.sleep(1.5)
        used_ns = [cpu_ns(pid) - before[pid] for pid in hogs.pids]
    build_ns = used_ns[:NR_CPUS]
    part = sum(build_ns) / sum(used_ns)
    record(part=part, build_ns=build_ns, totals=dict(turn.totals.counts))
    fair = WEIGHT_NICE_5 / (WEIGHT_NICE_5 + WEIGHT_NICE_0)
    assert 0.7 * fair < part < 1.3 * fair
    assert min(build_ns) > 0.4 * max(build_ns)
    assert turn.totals["rescued"] == 0


def test_a_lone_task_and_a_crowded_cache(shared: Shared, record: Record) -> None:
    """A task that runs alone comes into the build; tasks without a part of their own crowd a cache.

    It guards that a task does not stay where it is because no other task wants its CPU, and that
    the tasks of a part which may use all CPUs do not wait while those of another cache idle.
    """
    with shared.turn(f"{FILE}:Desk") as turn:
        with Hogs(600, [0], cpu=0) as lone:
            os.sched_setaffinity(lone.pids[0], range(NR_CPUS))
            os.setpriority(os.PRIO_PROCESS, lone.pids[0], 5)
            time.sleep(1)
            cpu = psutil.Process(lone.pids[0]).cpu_num()
        with Hogs(600, [0] * 2 * NR_CPUS) as hogs:
            for pid in hogs.pids:
                os.sched_setaffinity(pid, BUILD_CPUS)
            time.sleep(0.2)
            for pid in hogs.pids:
                os.sched_setaffinity(pid, range(NR_CPUS))
            time.sleep(0.2)
            begin_s, before_ns = time.monotonic(), sum(map(cpu_ns, hogs.pids))
            time.sleep(0.5)
            used_s = (sum(map(cpu_ns, hogs.pids)) - before_ns) / 1e9
            used = used_s / (time.monotonic() - begin_s)
    record(cpu=cpu, cpus_used=used, totals=dict(turn.totals.counts))
    assert cpu in BUILD_CPUS
    assert used > 0.8 * NR_CPUS
    assert turn.totals["rescued"] == 0


@pytest.mark.long
def test_a_part_that_hangs_is_replaced_alone(shared: Shared, record: Record) -> None:
    """The build's policy does not return, again and again; then 100 swaps of its part.

    It guards that tasks go on meanwhile, also the game's, whose part has the same process, and that
    a swap of one part, or of one that there is not, harms no other.
    """
    with (
        shared.turn(f"{FILE}:Desk") as turn,
        Hogs(600, [5] * NR_CPUS + [0] * NR_CPUS) as hogs,
        Sleeper(600) as sleeper,
    ):
        build = hogs.pids[:NR_CPUS]
        time.sleep(0.3)
        before = {pid: cpu_ns(pid) for pid in hogs.pids}
        used = {"Hanging": replaced("Hanging", build)}
        ran_ns = {pid: cpu_ns(pid) - before[pid] for pid in hogs.pids}
        wakeups = sleeper.wakeups(early=True)
        refused = control.ask(
            {
                "command": "swap",
                "policy": "vtime",
                "layer": "built",
                "options": [],
                "folder": "/",
            }
        )
        pauses_us = [
            swap(policy=policy, layer="build")["pause_us"]
            for policy in ("vtime", "rr", "deadline", "bpfland") * 25
        ]
        used["swapped"] = cpus_while(0.5, build)
        state = ask("status")
    totals = turn.totals
    output = turn.scheduler.output
    record(
        used={name: sorted(cpus) for name, cpus in used.items()},
        max_us=wakeups.max_us,
        pauses_us=sorted(pauses_us),
        totals=dict(totals.counts),
    )
    assert all(cpus <= BUILD_CPUS for cpus in used.values()), used
    assert state["options"]["part build"] == "bpfland"
    assert "part build: hanging failed 10 times" in output
    assert "has no part 'built'; it has: game, build, rest" in refused["error"]
    assert min(ran_ns.values()) > 0
    assert wakeups.max_us / 1e6 < GAP_S
    assert totals["rescued"] == 0


def test_rusty_balances_what_began_on_one_cache(shared: Shared, record: Record) -> None:
    """Two hogs a CPU, bound to one cache, are released: after three rounds each cache has its half.

    It guards the balancer against the kernel: loads as they are measured, tasks that it moves for
    good, and shares that follow. Where the caches are of two nodes, tasks leave their memory only
    for a larger difference.
    """
    far = read_topology().nr_nodes > 1
    limit, uneven = (0.17, 0.25) if far else (0.05, 0.15)
    with (
        shared.turn("rusty", "interval=0.4", "load_half_life=0.3") as turn,
        Hogs(600, [0] * 2 * NR_CPUS) as hogs,
    ):
        for pid in hogs.pids:
            os.sched_setaffinity(pid, set(range(NR_CPUS // 2)))
        time.sleep(0.5)
        for pid in hogs.pids:
            os.sched_setaffinity(pid, set(range(NR_CPUS)))
        time.sleep(1.3)
        gauges = [own()]
        before = {pid: cpu_ns(pid) for pid in hogs.pids}
        where: list[str] = []
        for _ in range(6):
            time.sleep(0.2)
            where.append(" ".join(str(psutil.Process(pid).cpu_num()) for pid in hogs.pids))
        used_ns = {pid: cpu_ns(pid) - before[pid] for pid in hogs.pids}
        gauges.append(own())
    totals = turn.totals
    mean_ns = sum(used_ns.values()) / len(used_ns)
    record(
        shares=[round(used / mean_ns, 2) for used in used_ns.values()],
        where=where,
        gauges=gauges,
        totals=dict(totals.counts),
    )
    for found in gauges:
        fair = found["load"] / 2
        assert abs(found["domain0_imbalance"]) < limit * fair, gauges
    assert all(abs(used / mean_ns - 1) < uneven for used in used_ns.values())
    assert totals.user_share > 0.9
    assert totals["rescued"] == 0


def own() -> dict[str, float]:
    """The gauges of the policy."""
    found = asked(DEFAULT_PATH)["policy_gauges"]
    return {name: value["policy_gauge"] for name, value in found.items()}
