# SPDX-License-Identifier: GPL-2.0-only
"""Faults that pyland survives: what other tasks, the machine and its users may do.

One pyland runs through all of these tests, so each begins where the one before has ended.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.canary import Before, alive
from tests.kernel.harness import Record, ask, ended_well
from tools.load import scheduler as system
from tools.load.command import Command, Stress, available
from tools.load.programs import Spawner
from tools.load.scheduler import Scheduler, until

CGROUPS = Path("/sys/fs/cgroup")
PID_MAX = Path("/proc/sys/kernel/pid_max")
PM_TEST = Path("/sys/power/pm_test")

FEW_PIDS = 450
"""More process ids than there are tasks; forks soon use them up."""
NUMBERS = FEW_PIDS - 300
"""Process ids that the kernel has when it starts again at 300."""

needs_cgroups = pytest.mark.skipif(
    not (CGROUPS / "cgroup.procs").exists(), reason="cgroup v2 is not mounted"
)
needs_stress = pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here")


@pytest.fixture(scope="module")
def running() -> Iterator[Scheduler]:
    """One pyland for all tests of this file; at the end nothing of it is left."""
    assert until(lambda: system.kernel_state() == "disabled", 10) is not None
    before = Before()
    with Scheduler() as scheduler:
        yield scheduler
        end = scheduler.end()
    ended_well(end)
    assert end.totals["page_faults"] == 0
    before.assert_restored()


def decided() -> int:
    """The number of decisions that BPF has carried out so far."""
    return int(ask("status")["counters"]["user_dispatched"])


def goes_on_deciding() -> None:
    """Wait until Python decides; there must be hogs that run."""
    before = decided()
    assert until(lambda: decided() > before + 10, 20) is not None


def forks() -> int:
    """The number of tasks that this machine has started so far."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("processes"))


@needs_stress
def test_newcomers_with_the_numbers_of_those_that_left(running: Scheduler, record: Record) -> None:
    """Fast forks with so few process ids that several processes get each of them."""
    before, allowed = forks(), PID_MAX.read_text()
    PID_MAX.write_text(str(FEW_PIDS))
    try:
        with alive(running, hogs=2), Stress("--fork 2", 600), Spawner(4, 100) as spawner:
            spawned = spawner.spawned()
            assert until(lambda: forks() - before > 2 * NUMBERS, 90) is not None
    finally:
        PID_MAX.write_text(allowed)
    record(forks=forks() - before)
    assert spawned.finished == spawned.started > 0


@needs_cgroups
def test_tasks_move_between_cgroups_that_come_and_go(running: Scheduler) -> None:
    """The weights of the cgroups change; no task is lost with a removed cgroup."""
    chance = random.Random(1)
    (CGROUPS / "cgroup.subtree_control").write_text("+cpu")
    with alive(running, hogs=6) as hogs:
        for number in range(4):
            group = CGROUPS / f"pyland-test-{number}"
            group.mkdir()
            for pid in (*hogs.pids, *hogs.pids):
                target = chance.choice((group, CGROUPS))
                (target / "cgroup.procs").write_text(str(pid))
                (group / "cpu.weight").write_text(str(chance.randint(1, 10_000)))
            for pid in hogs.pids:
                (CGROUPS / "cgroup.procs").write_text(str(pid))
            group.rmdir()


@pytest.mark.skipif(not available("strace"), reason="no strace here")
@needs_stress
def test_tasks_that_are_stopped_and_traced_at_any_moment(running: Scheduler) -> None:
    """A storm of SIGSTOP and SIGCONT, and a tracer that stops pairs at each system call."""
    with (
        alive(running, hogs=6) as hogs,
        Stress("--switch 2", 600) as pairs,
        Command("strace", "-f", "-o", "/dev/null", "-p", str(pairs.pid)),
    ):
        end_s = time.monotonic() + 4
        while time.monotonic() < end_s:
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for pid in hogs.pids:
                    os.kill(pid, number)
                time.sleep(0.001)
    # The tasks that were held when they stopped are released.
    nobody_left = until(lambda: ask("status")["counters"]["held"] <= 2, 10)
    assert nobody_left is not None, ask("status")["counters"]


def test_the_clock_on_the_wall_jumps(running: Scheduler) -> None:
    """An hour forward and two back: pyland does not use that clock."""
    with alive(running):
        for hours in (1, -2, 1):
            time.clock_settime(time.CLOCK_REALTIME, time.time() + hours * 3600)
            goes_on_deciding()


@needs_cgroups
@needs_stress
def test_memory_gets_short(running: Scheduler, record: Record) -> None:
    """A cgroup runs out of memory again and again while the kernel drops and compacts its pages."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
    group = CGROUPS / "pyland-test-small"
    group.mkdir()
    (group / "memory.max").write_text(str(48 << 20))
    eat = "exec stress-ng --bigheap 1 --vm 1 --vm-bytes 128M -t 600"
    try:
        with alive(running), Command("sh", "-c", f"echo $$ > {group}/cgroup.procs; {eat}"):
            begin_s, killed = time.monotonic(), "oom_kill 0\n"
            # On a busy machine it takes longer to use the memory up.
            while (passed_s := time.monotonic() - begin_s) < 5 or (
                "oom_kill 0\n" in killed and passed_s < 60
            ):
                Path("/proc/sys/vm/drop_caches").write_text("3")
                Path("/proc/sys/vm/compact_memory").write_text("1")
                time.sleep(0.1)
                killed = (group / "memory.events").read_text()
    finally:
        (group / "cgroup.kill").write_text("1")
        assert until(lambda: not (group / "cgroup.procs").read_text(), 30) is not None
        group.rmdir()
    record(events=killed.split())
    assert "oom_kill 0\n" not in killed


def test_it_is_asked_all_the_time(running: Scheduler, record: Record) -> None:
    """Several clients ask as fast as they get answers: deciding continues."""
    stop, answers = threading.Event(), [0] * 4

    def keep_asking(client: int) -> None:
        while not stop.is_set():
            ask("status")
            answers[client] += 1

    clients = [threading.Thread(target=keep_asking, args=(n,)) for n in range(len(answers))]
    with alive(running):
        before = decided()
        for client in clients:
            client.start()
        time.sleep(4)
        stop.set()
        for client in clients:
            client.join()
        assert decided() - before > 20
    record(answers=answers)
    assert min(answers) > 0


def test_sysrq_d_only_dumps(running: Scheduler) -> None:
    """The kernel writes its dump of the scheduler; nothing else happens."""
    with alive(running):
        Path("/proc/sysrq-trigger").write_text("D")
        time.sleep(1)


@pytest.mark.skipif(not PM_TEST.exists(), reason="this kernel cannot try a suspend")
def test_it_goes_on_after_a_suspend(running: Scheduler) -> None:
    """All tasks are frozen and thawed, as in a real suspend."""
    with alive(running, gap_s=30):
        PM_TEST.write_text("freezer")
        try:
            Path("/sys/power/state").write_text("mem")
        finally:
            PM_TEST.write_text("none")
        goes_on_deciding()
