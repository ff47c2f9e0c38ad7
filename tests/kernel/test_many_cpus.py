# SPDX-License-Identifier: GPL-2.0-only
"""Eight CPUs of two caches, with SMT siblings and two NUMA nodes.

`make test` counts instructions in this machine (`tools/vm --icount`): eight CPUs share one stream
of them, so each is eight times slower than one, and what the host does meanwhile has no effect.
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

from tests.kernel.harness import Record, Start, ended_well, swap, undisturbed
from tools.load.command import Stress, available
from tools.load.migrations import Migrations
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import End

NR_CPUS = 8
SECONDS = 2

pytestmark = [
    pytest.mark.many,
    pytest.mark.skipif(os.cpu_count() != NR_CPUS, reason="needs a machine with eight CPUs"),
]


def decided(end: End) -> float:
    """The part of the forwarded tasks whose decision came while they still waited."""
    totals = end.totals
    return (totals["user_dispatched"] - totals["amended"]) / max(totals["forwarded"], 1)


@dataclass
class Flips:
    """How often the affinity of a task has changed."""

    nr: int = 0


@contextlib.contextmanager
def flipped_affinity(pids: Sequence[int]) -> Iterator[Flips]:
    """Each of these tasks may run on one half of the CPUs, then on the other, all the time."""
    halves = ({*range(NR_CPUS // 2)}, {*range(NR_CPUS // 2, NR_CPUS)})
    flips, ends = Flips(), threading.Event()

    def flip() -> None:
        for pid, half in zip(itertools.cycle(pids), itertools.cycle(halves + halves[::-1])):
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
def test_pairs_that_wake_each_other_stay_on_their_cpu(start: Start, record: Record) -> None:
    """A task for each CPU that wakes another up and sleeps: both stay where their cache is."""
    scheduler = start()
    with undisturbed(scheduler), Migrations() as moved, Stress("--switch 8", SECONDS) as stress:
        assert stress.wait(SECONDS + 200) == 0, stress.output
    end = scheduler.end()
    record(moved=moved.nr, switches=moved.switches, totals=dict(end.totals.counts))
    ended_well(end)
    totals = end.totals
    assert totals["continued"] > 1000
    assert totals.user_share > 0.95, "decisions have no effect"
    assert totals["late"] <= 0.05 * totals["user_dispatched"]
    assert moved.nr < 0.05 * moved.switches


def test_tasks_that_compute_stay_near_their_cache(start: Start, record: Record) -> None:
    """32 hogs and a sleeper: Python orders them in time, shares are fair, and few tasks move."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 32) as hogs, Sleeper(600) as sleeper:
        with Migrations() as moved:
            time.sleep(2 * SECONDS)
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    end = scheduler.end()
    record(
        decided=decided(end),
        moved=moved.nr,
        far=moved.far,
        switches=moved.switches,
        p99_us=wakeups.p99_us,
        uneven=shares.uneven,
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert decided(end) > 0.8
    assert moved.nr < 0.3 * moved.switches
    assert moved.far < 0.1 * moved.switches
    assert end.totals["rescued"] == 0


def test_pinned_and_floating_tasks_share_by_weight(start: Start, record: Record) -> None:
    """Eight hogs pinned to one CPU each, and eight floating ones: each has half a CPU."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 16) as hogs:
        pinned, floating = hogs.pids[:NR_CPUS], hogs.pids[NR_CPUS:]
        for cpu, pid in enumerate(pinned):
            os.sched_setaffinity(pid, {cpu})
        time.sleep(1)
        before = hogs.cpu_s()
        time.sleep(3 * SECONDS)
        used_s = {pid: now - before[pid] for pid, now in hogs.cpu_s().items()}
        hogs.shares(early=True)
    end = scheduler.end()
    mean_s = sum(used_s.values()) / len(used_s)
    record(
        pinned=[used_s[pid] / mean_s for pid in pinned],
        floating=[used_s[pid] / mean_s for pid in floating],
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert decided(end) > 0.8
    assert all(0.75 < used_s[pid] / mean_s < 1.25 for pid in used_s)


def test_tasks_whose_affinity_flips_keep_running(start: Start, record: Record) -> None:
    """Twelve hogs move between the halves of the machine, every 3 ms one of them."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 24) as hogs:
        with flipped_affinity(hogs.pids[:12]) as flips:
            time.sleep(1)
            before = hogs.cpu_s()
            time.sleep(2 * SECONDS)
        used_s = [now - before[pid] for pid, now in hogs.cpu_s().items()]
        hogs.shares(early=True)
    end = scheduler.end()
    record(flips=flips.nr, least_s=min(used_s), most_s=max(used_s), totals=dict(end.totals.counts))
    ended_well(end)
    assert flips.nr > 100
    assert min(used_s) > 0.3 * sum(used_s) / len(used_s)


def test_a_cpu_comes_and_goes(start: Start, record: Record) -> None:
    """pyland starts anew without the CPU, and again with it."""
    scheduler = start()
    online = Path("/sys/devices/system/cpu/cpu7/online")
    with Hogs(600, [0] * 16) as hogs:
        try:
            online.write_text("0", encoding="ascii")
            scheduler.wait_enabled(starts=2)
        finally:
            online.write_text("1", encoding="ascii")
        scheduler.wait_enabled(starts=3)
        before = hogs.cpu_s()
        time.sleep(SECONDS)
        used_s = [now - before[pid] for pid, now in hogs.cpu_s().items()]
        hogs.shares(early=True)
    end = scheduler.end()
    record(least_s=min(used_s), totals=dict(end.totals.counts))
    assert end.status == 0
    assert min(used_s) > 0


@pytest.mark.parametrize(
    "options", [("--numa-local",), ("--policy-opt", "percpu_local=yes")], ids=["node", "cpu"]
)
def test_locality_by_option(start: Start, record: Record, options: tuple[str, ...]) -> None:
    """With either option no task is left out."""
    scheduler = start(*options)
    with undisturbed(scheduler), Hogs(600, [0] * 16) as hogs:
        time.sleep(1)
        before = hogs.cpu_s()
        time.sleep(SECONDS)
        used_s = [now - before[pid] for pid, now in hogs.cpu_s().items()]
        hogs.shares(early=True)
    end = scheduler.end()
    record(least_s=min(used_s), most_s=max(used_s), totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals.user_share > 0.95
    assert min(used_s) > 0.3 * sum(used_s) / len(used_s)


def test_policies_are_swapped_under_load(start: Start, record: Record) -> None:
    """All built-in policies, one after another: each decides, and every task goes on."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 24) as hogs:
        for policy in ("vtime", "fifo", "rr", "bpfland", "deadline"):
            swap(policy=policy)
            before = hogs.cpu_s()
            time.sleep(1)
            used_s = [now - before[pid] for pid, now in hogs.cpu_s().items()]
            assert sum(used > 0 for used in used_s) > 20, f"{policy}: {used_s}"
        shares = hogs.shares(early=True)
    end = scheduler.end()
    record(gap_s=shares.longest_gap_s, totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["rescued"] == 0
