# SPDX-License-Identifier: GPL-2.0-only
"""Eight CPUs of two caches, with SMT siblings and two NUMA nodes.

`make test` counts instructions in this machine (`tools/vm --icount`): eight CPUs share one stream
of them, so each is eight times slower than one, and what the host does meanwhile has no effect. A
second in which a CPU is busy takes ten of the host's, one in which all idle takes none. Python
beside eight busy CPUs is eight times as slow, so the tests swap and look before and after the load.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.groups import cpu_ns
from tests.kernel.harness import Record, Start, counted, ended_well, swap
from tests.kernel.running import Running
from tests.kernel.turns import Shared
from tools.load.command import Stress, available
from tools.load.migrations import Migrations
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import Totals

NR_CPUS = 8
HALVES = ({*range(NR_CPUS // 2)}, {*range(NR_CPUS // 2, NR_CPUS)})
"""The CPUs of each cache."""

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def decided(totals: Totals) -> float:
    """The part of the forwarded tasks whose decision came while they still waited."""
    return (totals["user_dispatched"] - totals["amended"]) / max(totals["forwarded"], 1)


def used_ns(pids: Sequence[int], seconds: float) -> dict[int, int]:
    """CPU time of each of these tasks within the next seconds."""
    before = {pid: cpu_ns(pid) for pid in pids}
    time.sleep(seconds)
    return {pid: cpu_ns(pid) - before[pid] for pid in pids}


def to_mean(used: dict[int, int]) -> dict[int, float]:
    """What each task used, as a part of the mean."""
    mean_ns = sum(used.values()) / len(used)
    return {pid: each / mean_ns for pid, each in used.items()}


@dataclass
class Flips:
    """How often the affinity of a task has changed."""

    nr: int = 0


@contextlib.contextmanager
def flipped_affinity(pids: Sequence[int]) -> Iterator[Flips]:
    """Each of these tasks may run on one half of the CPUs, then on the other, all the time."""
    flips, ends = Flips(), threading.Event()

    def flip() -> None:
        for pid, half in zip(itertools.cycle(pids), itertools.cycle(HALVES + HALVES[::-1])):
            if ends.wait(0.003):
                return
            os.sched_setaffinity(pid, half)
            flips.nr += 1

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield flips
    finally:
        ends.set()
        thread.join()


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_pairs_that_wake_each_other_stay_on_their_cpu(shared: Shared, record: Record) -> None:
    """A task for each CPU that wakes another up and sleeps: both stay where their cache is.

    It guards that a decision lasts (`continued`), that few come too late, and that a wakeup on a
    busy machine moves no task.
    """
    with shared.turn("deadline") as turn, Migrations() as moved, Stress("--switch 8", 1) as stress:
        assert stress.wait(300) == 0, stress.output
    totals = turn.totals
    record(moved=moved.nr, switches=moved.switches, totals=dict(totals.counts))
    assert totals["continued"] > 1000
    assert totals.user_share > 0.95, "decisions have no effect"
    assert totals["late"] <= 0.05 * totals["user_dispatched"]
    assert moved.nr < 0.05 * moved.switches


def test_tasks_that_compute_stay_near_their_cache(shared: Shared, record: Record) -> None:
    """32 hogs and a sleeper: Python orders them in time, and few tasks move.

    It guards that Python keeps up with eight CPUs, that a queue for each cache keeps tasks there,
    that a CPU takes tasks that ran there, and user space its last CPU, and that no CPU has to be
    helped out (`rescued`).
    """
    with shared.turn("deadline") as turn:
        migrations = Migrations()
        with Hogs(600, [0] * 32), Sleeper(600) as sleeper:
            with migrations as moved:
                time.sleep(1)
            wakeups = sleeper.wakeups(early=True)
    totals = turn.totals
    record(
        decided=decided(totals),
        moved=moved.nr,
        far=moved.far,
        switches=moved.switches,
        p99_us=wakeups.p99_us,
        totals=dict(totals.counts),
    )
    assert moved.switches > 1000
    assert totals["heartbeats"] > 12, "20 a second are due while tasks wait"
    assert decided(totals) > 0.8
    assert moved.nr < 0.1 * moved.switches
    assert moved.far < 0.03 * moved.switches
    assert totals["rescued"] == 0


def test_pinned_floating_and_restless_tasks_share(shared: Shared, record: Record) -> None:
    """Eight hogs pinned to a CPU each and eight floating ones; then these lose halves of the CPUs.

    It guards that pinned tasks at the head of a queue hide no task behind them and are not put off:
    each hog has half a CPU. And that a task whose affinity changes every few ms while it is queued
    or runs goes on.
    """
    with shared.turn("deadline") as turn, Hogs(600, [0] * 16) as hogs:
        pinned, floating = hogs.pids[:NR_CPUS], hogs.pids[NR_CPUS:]
        for cpu, pid in enumerate(pinned):
            os.sched_setaffinity(pid, {cpu})
        # While no CPU idles, tasks stay at the cache where they began: four at each.
        for pid, half in zip(floating, itertools.cycle(HALVES)):
            os.sched_setaffinity(pid, half)
        time.sleep(0.2)
        for pid in floating:
            os.sched_setaffinity(pid, range(NR_CPUS))
        time.sleep(0.1)
        shares = to_mean(used_ns(hogs.pids, 1.5))
        with flipped_affinity(floating) as flips:
            restless = to_mean(used_ns(hogs.pids, 1))
    totals = turn.totals
    record(
        pinned=[shares[pid] for pid in pinned],
        floating=[shares[pid] for pid in floating],
        restless=list(restless.values()),
        flips=flips.nr,
        totals=dict(totals.counts),
    )
    # 0.78 to 0.93 in eight boots: where eight CPUs take turns, Python has an eighth of the time.
    assert decided(totals) > 0.7
    assert all(0.75 < share < 1.25 for share in shares.values())
    assert flips.nr > 50
    assert min(restless.values()) > 0.3


def test_every_policy_takes_over_under_load(shared: Shared, record: Record) -> None:
    """Swaps to each simple policy while 16 hogs compute: it decides, and no task is left out.

    It guards that a swap finds the tasks that wait in the domains of two caches, with each order
    that a policy may have, and with the locality that `percpu_local` asks for.
    """
    found: dict[str, list[object]] = {}
    wrong: list[str] = []
    with shared.turn("deadline") as turn, Hogs(600, [0] * 16) as hogs:
        for spec, *options in (
            ("vtime",),
            ("fifo",),
            ("rr",),
            ("bpfland",),
            ("deadline", "percpu_local=yes"),
        ):
            swap(policy=spec, options=options)
            with counted(turn.scheduler) as totals:
                used = to_mean(used_ns(hogs.pids, 0.5))
            least = min(used.values())
            found[" ".join((spec, *options))] = [totals["forwarded"], totals.user_share, least]
            if totals["forwarded"] < 50 or totals.user_share < 0.9 or least < 0.2:
                wrong.append(f"{spec} {options}: {used}, {dict(totals.counts)}")
    record(**found, totals=dict(turn.totals.counts))
    assert not wrong, "\n".join(wrong)
    assert turn.totals["rescued"] == 0


def test_a_cpu_comes_and_goes(start: Start, record: Record) -> None:
    """With --numa-local pyland starts anew without CPU 7, and again with it.

    It guards that domains, nodes and cores are made anew from the CPUs that there are: tasks run
    on all of them, on no other, and none is left out.
    """
    scheduler = start("--numa-local")
    online = Path("/sys/devices/system/cpu/cpu7/online")
    used, where = {}, {}
    try:
        for starts, (state, nr) in enumerate((("0", NR_CPUS - 1), ("1", NR_CPUS)), start=2):
            online.write_text(state, encoding="ascii")
            scheduler.wait_enabled(starts=starts)
            with Hogs(600, [0] * 16) as hogs:
                with Running() as running:
                    used[nr] = to_mean(used_ns(hogs.pids, 0.5))
                where[nr] = set().union(*map(running.cpus_of, hogs.pids))
    finally:
        online.write_text("1", encoding="ascii")
    end = scheduler.end()
    record(
        least=[min(each.values()) for each in used.values()],
        where=[sorted(each) for each in where.values()],
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert end.totals["restarts"] == 2
    assert end.totals.user_share > 0.9
    for nr, cpus in where.items():
        assert cpus == set(range(nr))
        assert min(used[nr].values()) > 0.3
