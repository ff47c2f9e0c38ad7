# SPDX-License-Identifier: GPL-2.0-only
"""Faults that end pyland: with a reason and exit code 1, and the machine as it was before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.canary import Before
from tests.kernel.harness import GAP_S, Start
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import Scheduler, kernel_state


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = Before()
    yield
    before.assert_restored()


def ended(scheduler: Scheduler, seconds: float = 60) -> str:
    """What pyland said when it ended by itself."""
    assert scheduler.wait(seconds) == 1, scheduler.about()
    assert kernel_state() == "disabled"
    assert "pyland: ended: " in scheduler.output
    return scheduler.output.split("pyland: ended: ")[-1].splitlines()[0]


def test_a_crash_of_the_process_that_decides(start: Start) -> None:
    """A segmentation fault, as a mistake in its C side would be."""
    scheduler = start()
    with Hogs(600, [0] * 4) as hogs, Sleeper(600) as sleeper:
        os.kill(scheduler.worker_pid, signal.SIGSEGV)
        reason = ended(scheduler)
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    assert reason == "policy deadline: the process that runs it died"
    assert wakeups.max_us / 1e6 < GAP_S
    assert shares.longest_gap_s < GAP_S


def test_sysrq_s_gives_the_machine_back(start: Start) -> None:
    """The key for a scheduler that does not let go, whatever the scheduler does."""
    scheduler = start()
    with Hogs(600, [0] * 4):
        Path("/proc/sysrq-trigger").write_text("S")
        assert "sysrq" in ended(scheduler).lower()
