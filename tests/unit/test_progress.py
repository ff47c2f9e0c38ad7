# SPDX-License-Identifier: GPL-2.0-only
"""A process that is stopped or frozen is not stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyland.supervisor.progress import LOOK_EVERY_S, Progress


@contextmanager
def process(code: str) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", f"import time; print(flush=True); {code}"], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.1)
        try:
            yield child.pid
        finally:
            child.kill()


def looks(progress: Progress, count: int, *, begin_s: float = 100.0, cycles: int = 7) -> None:
    """Look at this process several times, at made-up times in the supervisor's rhythm."""
    for look in range(count):
        progress.look(cycles, begin_s + look * LOOK_EVERY_S)


def look_for(progress: Progress, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        progress.look(7, time.monotonic())
        time.sleep(0.05)


def test_a_sleeping_policy_is_stuck_and_a_new_cycle_ends_that() -> None:
    with process("time.sleep(60)") as pid:
        progress = Progress(pid)
        looks(progress, 9)
        assert progress.stuck_s == progress.busy_s == 8 * LOOK_EVERY_S
        progress.look(8, 103.0)
        assert progress.stuck_s == progress.busy_s == 0
        assert not progress.news()


def test_a_computing_policy_is_stuck_for_as_long_as_it_had_a_cpu() -> None:
    with process("\nwhile True: pass") as pid:
        progress = Progress(pid)
        look_for(progress, 1.5)
        assert 0.02 <= progress.stuck_s <= 1.6


def test_the_time_in_which_pyland_itself_was_stopped_does_not_count() -> None:
    with process("time.sleep(60)") as pid:
        progress = Progress(pid)
        looks(progress, 3)
        before_s = progress.stuck_s
        progress.look(7, 200.0)
        assert progress.stuck_s == before_s


def test_a_stopped_process_is_not_stuck_and_is_told_of_once() -> None:
    with process("time.sleep(60)") as pid:
        progress = Progress(pid)
        looks(progress, 2)
        before_s = progress.stuck_s
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        looks(progress, 100, begin_s=100.5)
        assert progress.stuck_s == progress.busy_s == before_s
        assert progress.news() == "stopped by a signal (SIGCONT lets it go on)"
        assert not progress.news()
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.1)
        looks(progress, 5, begin_s=125.5)
        assert progress.stuck_s == before_s + 5 * LOOK_EVERY_S


@pytest.mark.skipif(os.geteuid() != 0, reason="tracing a process may take root")
def test_a_traced_process_names_its_debugger() -> None:
    with process("time.sleep(60)") as pid:
        traces = f"import ctypes, time; assert ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0"
        waits = "print(flush=True); time.sleep(60)"
        tracer = subprocess.Popen(
            [sys.executable, "-c", f"{traces}; {waits}"], stdout=subprocess.PIPE
        )
        assert tracer.stdout is not None
        tracer.stdout.readline()
        time.sleep(0.1)
        progress = Progress(pid)
        looks(progress, 40)
        assert progress.stuck_s == progress.busy_s == 0
        assert progress.news() == f"held by a debugger (process {tracer.pid})"
        tracer.kill()
        tracer.communicate()


def fake(proc: Path, letter: str, wchan: str, cgroup: str = "0::/a/b\n") -> Path:
    folder = proc / "12"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(f"12 (a) b) {letter} {' '.join('0' * 10)} 50 50 0")
    (folder / "wchan").write_text(wchan)
    (folder / "cgroup").write_text(cgroup)
    return proc


@pytest.mark.parametrize(
    ("letter", "wchan"), [("S", "do_freezer_trap"), ("S", "get_signal"), ("D", "__refrigerator")]
)
def test_a_frozen_process_is_not_stuck(tmp_path: Path, letter: str, wchan: str) -> None:
    progress = Progress(12, proc=fake(tmp_path, letter, wchan), cgroups=tmp_path)
    looks(progress, 40)
    assert progress.stuck_s == progress.busy_s == 0
    assert progress.news() == "frozen by its cgroup"


def test_a_frozen_process_is_known_by_its_cgroup_too(tmp_path: Path) -> None:
    events = tmp_path / "a/b/cgroup.events"
    events.parent.mkdir(parents=True)
    events.write_text("populated 1\nfrozen 1\n")
    progress = Progress(12, proc=fake(tmp_path, "S", "0"), cgroups=tmp_path)
    looks(progress, 40)
    assert progress.stuck_s == 0
    events.write_text("populated 1\nfrozen 0\n")
    looks(progress, 5, begin_s=110.0)
    assert progress.stuck_s == 5 * LOOK_EVERY_S


def test_what_waits_in_the_kernel_is_interrupted_but_not_killed(tmp_path: Path) -> None:
    """SIGKILL would do nothing before the disk answers, and then the interrupt does."""
    progress = Progress(12, proc=fake(tmp_path, "D", "folio_wait_bit"), cgroups=tmp_path)
    looks(progress, 41)
    assert progress.busy_s == 40 * LOOK_EVERY_S
    assert progress.stuck_s == 0
    assert progress.news() == "waiting in the kernel (folio_wait_bit), not to be interrupted"
    fake(tmp_path, "S", "hrtimer_nanosleep")
    looks(progress, 5, begin_s=110.25)
    assert progress.stuck_s == 5 * LOOK_EVERY_S


def test_a_process_that_is_gone_is_not_stuck(tmp_path: Path) -> None:
    progress = Progress(12, proc=tmp_path, cgroups=tmp_path)
    looks(progress, 40)
    assert progress.stuck_s == progress.busy_s == 0
