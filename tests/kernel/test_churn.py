# SPDX-License-Identifier: GPL-2.0-only
"""Tasks come and go, move and lose their CPUs, and pyland continues."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.kernel.harness import GAP_S, Record, scaled
from tests.kernel.turns import Shared
from tools.load.command import Command, Stress, available
from tools.load.programs import Hogs, Sleeper, Spawner, figures


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_aggressive_affinity_stress_passes(shared: Shared) -> None:
    """The line with which the scx project's CI tries its schedulers."""
    options = "--aggressive -M -c 2 -f 2 --affinity 1 --affinity-delay 1 --affinity-pin"
    with shared.turn("deadline"), Stress(options, 31) as stress:
        status = stress.wait(31 + 180)
        assert status == 0, stress.output


@pytest.mark.skipif(not available("hackbench"), reason="no hackbench here")
def test_hackbench_gets_to_its_end(shared: Shared, record: Record) -> None:
    """Four hundred processes that wake each other up all the time.

    A full run has 1000 loops (PYLAND_HACKBENCH_LOOPS), which takes long under emulation.
    """
    loops = os.environ.get("PYLAND_HACKBENCH_LOOPS", "40")
    begin = time.monotonic()
    with (
        shared.turn("deadline") as turn,
        Command("hackbench", "-P", "-g", "10", "-l", loops) as bench,
    ):
        status = bench.wait(300)
        assert status == 0, bench.output
    record(loops=loops, seconds=time.monotonic() - begin, totals=dict(turn.totals.counts))


@pytest.mark.parametrize("run", [False, True], ids=["fork", "exec"])
def test_short_lived_processes_all_run(shared: Shared, record: Record, run: bool) -> None:
    """Short-lived processes, as in a build: each is new to the scheduler, and ends at once."""
    with shared.turn("deadline") as turn, Spawner(scaled(20), 500, run) as spawner:
        spawned = spawner.spawned()
    record(spawned=figures(spawned), totals=dict(turn.totals.counts))
    assert spawned.started > 0
    assert spawned.finished == spawned.started
    assert spawned.slowest_us / 1e6 < 2 * GAP_S


def test_running_tasks_move_between_cpus(shared: Shared, record: Record) -> None:
    """The CPUs that tasks may use change at random, also between a record and its decision."""
    chance = random.Random(1)
    cpus = sorted(os.sched_getaffinity(0))
    sets = [{cpu} for cpu in cpus] + [set(cpus)]
    moves = 0
    with shared.turn("deadline") as turn, Hogs(600, [0] * 6) as hogs, Sleeper(600) as sleeper:
        until_s = time.monotonic() + scaled(20)
        while time.monotonic() < until_s:
            for pid in (*hogs.pids, sleeper.pid):
                os.sched_setaffinity(pid, chance.choice(sets))
                moves += 1
            time.sleep(0.005)
        wakeups = sleeper.wakeups(early=True)
        shares = hogs.shares(early=True)
    record(moves=moves, gap_s=shares.longest_gap_s, wakeup_max_s=wakeups.max_us / 1e6)
    record(totals=dict(turn.totals.counts))
    assert all(hog.progress > 0 for hog in shares.hogs)
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S


@pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")
def test_tasks_change_while_they_wait(shared: Shared) -> None:
    """Tasks exit, execute other programs, and change class and nice value in the queues."""
    options = "--zombie 1 --exec 1 --schedpolicy 1 --nice 1 --switch 1 --yield 1"
    with shared.turn("deadline"), Stress(options, scaled(30)) as stress:
        status = stress.wait(scaled(30) + 180)
        # 3: the machine lacks something that a stressor needs, which is no fault of pyland.
        assert status in (0, 3), stress.output
