# SPDX-License-Identifier: GPL-2.0-only
"""The workloads measure what they claim to, under any scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil
import pytest

from tools.load import build
from tools.load.command import Command, available
from tools.load.programs import Hogs, Sleeper, Spawner
from tools.load.scheduler import until

pytestmark = pytest.mark.skipif(not available("gcc"), reason="no gcc here")


def has_ended(pid: int) -> bool:
    """True if the process has ended; its new parent may take a moment to reap it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_hogs_are_measured_over_one_window() -> None:
    with Hogs(1, [0, 0, 5]) as hogs:
        shares = hogs.shares()
    assert shares.window_ns == 1_000_000_000
    assert [hog.nice for hog in shares.hogs] == [0, 0, 5]
    assert [hog.pid for hog in shares.hogs] == list(hogs.pids)
    assert all(0 < hog.cpu_ns < 1.1e9 for hog in shares.hogs)
    assert all(hog.progress for hog in shares.hogs)
    assert sum(hog.cpu_ns for hog in shares.hogs) < 1.1e9 * (os.cpu_count() or 1)


def test_a_hog_that_did_not_run_says_for_how_long() -> None:
    with Hogs(60, [0, 0]) as hogs:
        time.sleep(0.2)
        os.kill(hogs.pids[1], signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(hogs.pids[1], signal.SIGCONT)
        time.sleep(0.2)
        shares = hogs.shares(early=True)
    assert 0.6e9 <= shares.hogs[1].longest_gap_ns < shares.window_ns < 60e9
    assert shares.longest_gap_s >= 0.6


def test_hogs_can_share_one_cpu() -> None:
    cpu = min(os.sched_getaffinity(0))
    with Hogs(60, [0, 0], cpu=cpu) as hogs:
        assert all(os.sched_getaffinity(pid) == {cpu} for pid in hogs.pids)
        before = hogs.cpu_s()
        # Half a second, longer on a machine with more to do.
        for _ in range(60):
            time.sleep(0.5)
            after = hogs.cpu_s()
            if ran := sum(after[pid] - before[pid] for pid in before):
                break
        shares = hogs.shares(early=True)
    assert ran > 0
    assert sum(hog.cpu_ns for hog in shares.hogs) <= 1.05 * shares.window_ns


def test_hogs_leave_nothing_behind() -> None:
    with Hogs(60, [0]) as hogs:
        (pid,) = hogs.pids
    assert until(lambda: has_ended(pid), 2) is not None, "a hog outlived its test"


def test_hogs_that_cannot_start_say_why() -> None:
    with pytest.raises(RuntimeError, match="CPU 1023"), Hogs(1, [0], cpu=1023):
        pass


def test_a_sleeper_counts_its_wakeups() -> None:
    with Sleeper(1) as sleeper:
        wakeups = sleeper.wakeups()
    assert 0 < wakeups.periods <= wakeups.possible_periods + 1
    assert 0 <= wakeups.p50_us <= wakeups.p90_us <= wakeups.p99_us <= wakeups.p999_us
    assert wakeups.p999_us <= wakeups.max_us


def test_a_sleeper_that_was_stopped_shows_it() -> None:
    with Sleeper(60) as sleeper:
        time.sleep(0.3)
        os.kill(sleeper.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(sleeper.pid, signal.SIGCONT)
        time.sleep(0.2)
        wakeups = sleeper.wakeups(early=True)
    assert wakeups.seconds < 60
    assert wakeups.periods > 2


@pytest.mark.parametrize("run", [False, True])
def test_every_spawned_process_proves_that_it_ran(run: bool) -> None:
    with Spawner(1, 50, run) as spawner:
        spawned = spawner.spawned()
    assert 0 < spawned.started <= 51
    assert spawned.finished == spawned.started
    assert spawned.mean_us <= spawned.slowest_us


@pytest.mark.parametrize("name", build.PROGRAMS)
def test_a_wrong_option_is_refused(name: str) -> None:
    command = [str(build.program(name)), "--seconds", "soon"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "not 'soon'" in result.stderr


def test_a_command_is_ended_with_its_children() -> None:
    with Command("sh", "-c", "sleep 1000 & echo $!; wait") as command:
        while not command.output:
            time.sleep(0.01)
        child = int(command.output)
        with pytest.raises(TimeoutError):
            command.wait(0.05)
    assert until(lambda: has_ended(child), 2) is not None, "the child goes on"
