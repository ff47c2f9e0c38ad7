# SPDX-License-Identifier: GPL-2.0-only
"""Faults that end pyland with a reason and exit code 1; the machine is as it was before."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.canary import Before, alive, taken_by_real_time
from tests.kernel.harness import GAP_S, Record, Start, ended_well
from tools.load.programs import Crowd, Hogs, Sleeper
from tools.load.scheduler import Scheduler, kernel_state, until

HOSTILE = Path(__file__).with_name("hostile.py")

# A small QUEUE_CAP makes small rings, which a crowd of tasks fills.
FEW = """
import sys
from pyland.supervisor import loader
loader.QUEUE_CAP = 16
from pyland.cli.main import main
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = Before()
    yield
    before.assert_restored()


def ended(scheduler: Scheduler, seconds: float = 60, *, status: int = 1) -> str:
    """The output of a pyland that ended by itself."""
    assert scheduler.wait(seconds) == status, scheduler.about()
    assert kernel_state() == "disabled"
    assert "pyland: ended: " in scheduler.output
    return scheduler.output.split("pyland: ended: ")[-1].splitlines()[0]


def test_a_crash_of_the_process_that_decides(start: Start) -> None:
    """A segmentation fault, as after a mistake in the C code."""
    scheduler = start()
    with Hogs(600, [0] * 4) as hogs, Sleeper(600) as sleeper:
        os.kill(scheduler.worker_pid, signal.SIGSEGV)
        reason = ended(scheduler)
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    assert reason == "policy deadline: the process that runs it died"
    assert wakeups.max_us / 1e6 < GAP_S
    assert shares.longest_gap_s < GAP_S


def test_sysrq_s_gives_the_machine_back(start: Start) -> None:
    """The key with which an administrator ends any scheduler; no service starts it again."""
    scheduler = start()
    with Hogs(600, [0] * 4):
        Path("/proc/sysrq-trigger").write_text("S")
        assert "sysrq" in ended(scheduler, status=0).lower()


def test_a_policy_that_never_comes_back_from_c(start: Start) -> None:
    """The policy cannot be interrupted, and keeps the interpreter: pyland ends its process."""
    scheduler = start("--policy", f"{HOSTILE}:Stuck")
    with Hogs(600, [0] * 4) as hogs, Sleeper(600) as sleeper:
        reason = ended(scheduler)
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    assert reason == "policy stuck does not return and cannot be interrupted"
    assert wakeups.max_us / 1e6 < GAP_S
    assert shares.longest_gap_s < GAP_S


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a real-time task takes the only CPU")
def test_the_kernels_watchdog(start: Start) -> None:
    """A task waits for longer than the kernel allows: a real-time task has its only CPU."""
    scheduler = start()
    with Hogs(600, [0], cpu=1):
        # The kernel itself cannot end a scheduler before that CPU takes part.
        with taken_by_real_time(1):
            assert until(lambda: kernel_state() != "enabled", 60) is not None, scheduler.about()
        # The hog, or a thread of the kernel that belongs to this CPU.
        assert "runnable task stall (" in ended(scheduler)
    assert "pyland: the kernel's dump:" in scheduler.output


def test_rings_that_are_too_small_for_the_crowd(start: Start, record: Record) -> None:
    """Tasks without room for a record run without a decision; no task is lost."""
    scheduler = start(program=(sys.executable, "-c", FEW))
    with alive(scheduler), Crowd(600, 400):
        time.sleep(5)
    end = scheduler.end()
    record(totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["fallback_full"] > 0
    assert end.totals["user_dispatched"] > 100
